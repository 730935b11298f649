package uml

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// amx is the size of the XSAVE area of a CPU with AMX.
const amx = 11008

func TestRunsOn(t *testing.T) {
	for _, test := range []struct {
		release   string
		registers int
		runs      bool
	}{
		{"6.1.176", 0, true}, // no XSAVE
		{"6.1.176", 832, true},
		{"6.12.117", 2696, true}, // AVX-512 and protection keys
		{"6.12.117", 2697, false},
		{"6.1.176", amx, false},
		{"6.12.117", amx, false},
		{"5.10", amx, false},
		{"6.13.0-rc1", amx, true},
		{"6.13", amx, true},
		{"7.3.4", amx, true},
	} {
		err := runsOn(test.release, test.registers)
		assert.Equal(t, test.runs, err == nil, "%s with %d bytes: %v", test.release, test.registers, err)
	}
	assert.EqualError(t, runsOn("6.1.176", amx),
		"cannot run on this CPU, whose registers take 11008 bytes (XSAVE; AMX has such): a User Mode Linux before 6.13 has 2696 for them")
}

// On a CPU with AMX an old kernel is refused before it boots and skipped in a search, and the list
// reports it.
func TestOldKernelsOnAMX(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	cache, err := CacheDir()
	require.NoError(t, err)
	kernel := func(release string) string {
		path := filepath.Join(cache, release, "linux")
		compileC(t, path, fmt.Sprintf("#include <stdio.h>\nint main(void) { puts(\"%s\"); return 0; }\n", release), "-static")
		return path
	}
	before, booted := hostRegisters, boot
	t.Cleanup(func() { hostRegisters, boot = before, booted })
	boot = func(*Kernel) (string, error) { return "", nil }
	hostRegisters = func() int { return amx }

	const why = "cannot run on this CPU, whose registers take 11008 bytes (XSAVE; AMX has such): a User Mode Linux before 6.13 has 2696 for them; " +
		another
	old := kernel("6.12.7")
	refused := "kernel " + old + " (6.12.7): " + why
	_, err = Find("")
	assert.EqualError(t, err, refused)
	for _, name := range []string{old, "6.12.7"} {
		_, _, err = (&Options{Kernel: name}).job()
		assert.EqualError(t, err, refused, name)
	}
	k, err := Open(old)
	require.NoError(t, err)
	assert.Equal(t, k.RunsHere().Error(), refused)
	states, err := k.Describe()
	require.NoError(t, err)
	assert.Equal(t, FeatureState{"runs here", "no: " + why}, states[0])

	newer := kernel("6.13.1")
	hostRegisters = func() int { return fixedRegisters }
	k, err = Find("")
	require.NoError(t, err)
	assert.Equal(t, newer, k.Path)
	hostRegisters = func() int { return amx }
	require.NoError(t, os.Rename(filepath.Dir(old), filepath.Join(cache, "6.14")))
	k, err = Find("")
	require.NoError(t, err)
	assert.Equal(t, newer, k.Path, "the first of the list cannot run here")
	states, err = k.Describe()
	require.NoError(t, err)
	assert.Equal(t, FeatureState{"runs here", "yes"}, states[0])
}
