package twins

import (
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/test/lib/built"
	"binproxy/test/lib/lab"
	"binproxy/test/lib/need"
)

//go:embed testdata/headers.sh
var headers string

// The twins of the compilers find each header where the guest's own compilers find it, and mark it
// the same.
func TestHeaders(t *testing.T) {
	need.Long(t) // the short run has TestFit (emu/twin)
	need.Emulator(t, "aarch64")
	need.Program(t, "aarch64-linux-gnu-g++", "g++-aarch64-linux-gnu")
	root, twins := t.TempDir(), filepath.Join(t.TempDir(), "twins")
	out, err := exec.Command("tar", "-C", root, "--numeric-owner", "-xpf", lab.Building(t, "arm64")).CombinedOutput()
	require.NoError(t, err, "%s", out)
	out, err = exec.Command(built.Binproxy(t), "twin", "pack", "--for", "arm64", "-o", twins, "g++").CombinedOutput()
	require.NoError(t, err, "%s", out)
	look := func(twins string, more ...string) string {
		require.NoError(t, os.RemoveAll(filepath.Join(root, "tmp/headers")))
		said, status := run(t, append(append([]string{"--root", root, "--twins", twins}, more...), "--", "sh", "-c", headers)...)
		require.Zero(t, status, said)
		return said
	}
	want := look("off")
	assert.Contains(t, want, "#define FOUND_3 1\n")
	assert.Equal(t, "", difference(want, look(twins)))
	// all but three with -E
	assert.Contains(t, look(twins, "--summary"), "11 programs ran as twins")
}

// difference is the first line that differs, as one text and the other have it; "" for none.
func difference(a, b string) string {
	other := strings.Split(b, "\n")
	for i, line := range strings.Split(a, "\n") {
		if i >= len(other) || line != other[i] {
			return fmt.Sprintf("line %d: %q, %q", i+1, line, append(other, "the end")[min(i, len(other))])
		}
	}
	return ""
}
