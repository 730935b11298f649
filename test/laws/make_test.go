package laws

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/applets"
)

// In a checkout of its own, make lists its targets, install puts the program and every page under
// DESTDIR, and clean leaves nothing of them.
func TestMakeInstallAndClean(t *testing.T) {
	checkout := filepath.Join(t.TempDir(), "checkout")
	copyTree(t, checkout)
	makeIn(t, checkout, "clean") // the tree may have been built in
	before := names(t, checkout)
	said := makeIn(t, checkout)
	for _, goal := range []string{"build", "dockerfile", "frontend", "release", "demo", "test", "test-all", "bench", "lint", "clean", "install"} {
		assert.Contains(t, said, "make "+goal+" ")
	}

	dest := t.TempDir()
	makeIn(t, checkout, "install", "DESTDIR="+dest, "PREFIX=/usr")
	want := []string{"usr/bin/binproxy", "usr/share/man/man1/binproxy.1"}
	for _, a := range applets.Table {
		want = append(want, "usr/share/man/man1/binproxy-"+a.Name+".1")
	}
	assert.ElementsMatch(t, want, names(t, dest))
	assert.FileExists(t, filepath.Join(checkout, "binproxy"))

	makeIn(t, checkout, "clean")
	assert.Equal(t, before, names(t, checkout))
}

func makeIn(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("make", args...)
	cmd.Dir = dir
	for _, entry := range os.Environ() {
		// those of the make that runs us
		if !strings.HasPrefix(entry, "MAKE") && !strings.HasPrefix(entry, "MFLAGS=") {
			cmd.Env = append(cmd.Env, entry)
		}
	}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	return string(out)
}

// names lists the files below dir, relative to it.
func names(t *testing.T, dir string) []string {
	t.Helper()
	var found []string
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			name, _ := filepath.Rel(dir, path)
			found = append(found, name)
		}
		return err
	}))
	return found
}

// The README or a page of docs mentions each applet.
func TestAppletsAreDocumented(t *testing.T) {
	var text strings.Builder
	walk(t, func(name string, page []byte) {
		if name == "README.md" || strings.HasPrefix(name, "docs/") {
			text.Write(page)
		}
	})
	for _, a := range applets.Table {
		assert.Contains(t, text.String(), "binproxy "+a.Name, "README.md and docs/ do not name it")
	}
}
