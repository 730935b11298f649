package uml

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// trials counts boots, each of which ends as said for the release.
type trials struct {
	boots map[string]int
	why   map[string]string
	err   error
}

// countBoots puts a count in the place of boots, and makes a cache without kernels.
func countBoots(t *testing.T) (count *trials, kernel func(release string) string) {
	t.Helper()
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	cache, err := CacheDir()
	require.NoError(t, err)
	count = &trials{boots: map[string]int{}, why: map[string]string{}}
	before := boot
	t.Cleanup(func() { boot = before })
	boot = func(k *Kernel) (string, error) {
		count.boots[k.Release]++
		return count.why[k.Release], count.err
	}
	return count, func(release string) string {
		path := filepath.Join(cache, release, "linux")
		compileC(t, path, fmt.Sprintf("#include <stdio.h>\nint main(void) { puts(\"%s\"); return 0; }\n", release), "-static")
		return path
	}
}

// A success holds for this kernel's file on this CPU. A failure is known without a boot, and a
// trial repeats it. What could not be tried is not kept.
func TestTrialIsKept(t *testing.T) {
	count, kernel := countBoots(t)
	path := kernel("7.5.1")
	k, err := Open(path)
	require.NoError(t, err)
	for range 2 {
		require.NoError(t, k.Try())
		require.NoError(t, k.RunsHere())
	}
	assert.Equal(t, 1, count.boots["7.5.1"])

	later := time.Now().Add(time.Hour)
	require.NoError(t, os.Chtimes(path, later, later))
	require.NoError(t, k.Try())
	assert.Equal(t, 2, count.boots["7.5.1"], "another file")
	before := hostRegisters
	t.Cleanup(func() { hostRegisters = before })
	hostRegisters = func() int { return amx + 1 }
	require.NoError(t, k.Try())
	assert.Equal(t, 3, count.boots["7.5.1"], "another CPU")

	hostRegisters, count.err = before, errors.New("no namespaces")
	require.NoError(t, os.Chtimes(path, later, later.Add(time.Hour)))
	assert.EqualError(t, k.Try(), "could not tell: no namespaces")
	assert.ErrorIs(t, k.Try(), ErrUntold)
	assert.NoError(t, k.RunsHere())

	count.err, count.why["7.5.1"] = nil, "panic"
	assert.EqualError(t, k.Try(), "did not boot here: panic; "+another)
	boots := count.boots["7.5.1"]
	refused := "kernel " + path + " (7.5.1): did not boot here: panic (binproxy uml kernel list tries it again); " + another
	assert.EqualError(t, k.RunsHere(), refused)
	_, _, err = (&Options{Kernel: path}).job()
	assert.EqualError(t, err, refused)
	assert.Equal(t, boots, count.boots["7.5.1"])
	count.why["7.5.1"] = ""
	require.NoError(t, k.Try())
	assert.NoError(t, k.RunsHere())
}

// Among several kernels, a run takes the first that boots, or that cannot be tried.
func TestChoiceByTrial(t *testing.T) {
	count, kernel := countBoots(t)
	newer, older := kernel("7.5.1"), kernel("7.4.1")
	chosen := func() string {
		t.Helper()
		k, err := (&Options{}).kernel()
		require.NoError(t, err)
		return k.Path
	}
	count.err = errors.New("busy")
	assert.Equal(t, newer, chosen())
	count.err, count.why["7.5.1"] = nil, "panic"
	assert.Equal(t, older, chosen())
	assert.Equal(t, older, chosen())
	assert.Equal(t, map[string]int{"7.5.1": 2, "7.4.1": 1}, count.boots)
	k, err := Find("")
	require.NoError(t, err)
	assert.Equal(t, older, k.Path)
}

// The seccomp mode has to be in the kernel.
func TestSeccompKernel(t *testing.T) {
	_, kernel := countBoots(t)
	old := kernel("6.15.9")
	refused := "kernel " + old + " (6.15.9): has no seccomp mode, which Linux 6.16 brought; " + another
	_, err := (&Options{Kernel: old, Seccomp: true}).kernel()
	assert.EqualError(t, err, refused)
	_, err = (&Options{Seccomp: true}).kernel()
	assert.EqualError(t, err, refused)
	newer := kernel("6.16.1")
	k, err := (&Options{Seccomp: true}).kernel()
	require.NoError(t, err)
	assert.Equal(t, newer, k.Path)
}
