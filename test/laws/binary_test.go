package laws

import (
	"debug/buildinfo"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// mostBytes is the budget of the program in the image.
const mostBytes = 6 << 20

// buildIn builds the program as `make build` does, in a checkout.
func buildIn(t *testing.T, checkout string, env ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "binproxy")
	cmd := exec.Command(filepath.Join(checkout, "scripts", "build"), path)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	return path
}

func TestBinaryIsStatic(t *testing.T) {
	for _, goarch := range []string{"amd64", "arm64", "arm"} {
		t.Run(goarch, func(t *testing.T) {
			path := buildIn(t, top, "GOARCH="+goarch)
			f, err := elf.Open(path)
			require.NoError(t, err)
			defer f.Close()
			assert.Equal(t, elf.ET_EXEC, f.Type)
			require.NotEmpty(t, f.Progs)
			for _, p := range f.Progs {
				assert.NotContains(t, []elf.ProgType{elf.PT_INTERP, elf.PT_DYNAMIC}, p.Type)
			}
			fi, err := os.Stat(path)
			require.NoError(t, err)
			assert.LessOrEqual(t, fi.Size(), int64(mostBytes))
			assert.Nil(t, f.Section(".symtab"), "not stripped")
		})
	}
}

// The same source gives the same bytes, in any directory.
func TestBinaryIsReproducible(t *testing.T) {
	elsewhere := filepath.Join(t.TempDir(), "another checkout")
	copyTree(t, elsewhere)
	env := []string{"VERSION=v0"}
	here, err := os.ReadFile(buildIn(t, top, env...))
	require.NoError(t, err)
	// A build cache of its own would take a minute; -a for this module's packages is what matters,
	// and another directory has the same effect.
	there, err := os.ReadFile(buildIn(t, elsewhere, env...))
	require.NoError(t, err)
	assert.True(t, string(here) == string(there), "two checkouts, two programs")
	checkout, err := filepath.Abs(top)
	require.NoError(t, err)
	// Look for one of its folders: the checkout may have a path that other texts contain, such as
	// /src.
	assert.False(t, strings.Contains(string(here), filepath.Join(checkout, "emu")), "not trimmed")
}

func copyTree(t *testing.T, to string) {
	t.Helper()
	walkAll(t, func(name string, text []byte) {
		path := filepath.Join(to, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		fi, err := os.Stat(filepath.Join(top, name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, text, fi.Mode().Perm()))
	})
}

func TestBinaryKnowsItsVersion(t *testing.T) {
	path := buildIn(t, top, "VERSION=v9.8.7-6-gabcdef0")
	out, err := exec.Command(path, "version").Output()
	require.NoError(t, err)
	assert.True(t, strings.HasPrefix(string(out), "binproxy v9.8.7-6-gabcdef0 go"), string(out))
	info, err := buildinfo.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "binproxy", info.Path)
	assert.NotEmpty(t, info.GoVersion)

	described, err := exec.Command("git", "-C", top, "describe", "--always", "--dirty").Output()
	if err != nil {
		t.Skip("needs a git checkout")
	}
	out, err = exec.Command(buildIn(t, top), "version").Output()
	require.NoError(t, err)
	assert.Contains(t, string(out), " "+strings.TrimSpace(string(described))+" ")
}
