package laws

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Every exec through a farm runs the init functions and package-level variables of everything in
// the program. Any Go program that uses os and fmt has about 2.5 KiB of them. debug/elf, which
// `binproxy bundle` needs, brings debug/dwarf and compress/flate, 11 KiB; the readers of image
// archives bring archive/tar, hash/crc32 and crypto, 17 allocations. A package that builds tables
// or compiles expressions at start is far above the rest. Our own packages allocate nothing.
const (
	mostInitBytes  = 20 << 10
	mostInitAllocs = 90
)

// It checks bytes and allocations, which are the same in each run, and not the clock.
func TestInitIsLight(t *testing.T) {
	dir := t.TempDir()
	program := buildIn(t, top)
	link := filepath.Join(dir, "uname")
	require.NoError(t, os.Symlink(program, link))
	cmd := exec.Command(link, "-s")
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	var trace strings.Builder
	cmd.Stderr = &trace
	out, err := cmd.Output()
	require.NoError(t, err, trace.String())
	assert.Equal(t, "Linux\n", string(out))

	line := regexp.MustCompile(`(?m)^init (\S+) @.* clock, (\d+) bytes, (\d+) allocs$`)
	inits := line.FindAllStringSubmatch(trace.String(), -1)
	require.NotEmpty(t, inits, trace.String())
	var bytes, allocs int
	for _, m := range inits {
		b, _ := strconv.Atoi(m[2])
		a, _ := strconv.Atoi(m[3])
		bytes, allocs = bytes+b, allocs+a
		if strings.HasPrefix(m[1], "binproxy") {
			assert.Zero(t, a, "%s allocates %d bytes before main", m[1], b)
		}
	}
	assert.LessOrEqual(t, bytes, mostInitBytes, "bytes allocated before main:\n%s", &trace)
	assert.LessOrEqual(t, allocs, mostInitAllocs, "allocations before main:\n%s", &trace)
}
