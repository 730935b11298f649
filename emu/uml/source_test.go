package uml

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/apt"
	"binproxy/test/lib/archive"
	"binproxy/test/lib/need"
)

// addSource adds a package of a kernel's source that make builds in a moment: its file linux is a
// program that prints its release.
func addSource(t *testing.T, a *archive.Archive, series, release string) {
	t.Helper()
	dir := t.TempDir()
	tree := filepath.Join(dir, "linux-source")
	write(t, filepath.Join(tree, "Makefile"), "allnoconfig:\n\tcp $(KCONFIG_ALLCONFIG) .config\nlinux: linux.c\n\t$(CC) -o $@ $<\n")
	write(t, filepath.Join(tree, "linux.c"), fmt.Sprintf("#include <stdio.h>\nint main(void) { puts(\"%s\"); return 0; }\n", release))
	write(t, filepath.Join(tree, "lib/Makefile"), "# as a kernel's source has\n")
	pkg := filepath.Join(dir, "package")
	require.NoError(t, os.MkdirAll(filepath.Join(pkg, "usr/src"), 0o755))
	out, err := exec.Command("tar", "-cJf", filepath.Join(pkg, "usr/src/linux-source-"+series+".tar.xz"), "-C", dir, "linux-source").CombinedOutput()
	require.NoError(t, err, string(out))
	a.AddTree(pkg, sourcePrefix+series, release+"-1")
	a.Index()
}

func write(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
}

// useArchives makes these Debian's suites, by name; a missing one is an archive without packages.
func useArchives(t *testing.T, suites map[string]*archive.Archive) {
	t.Helper()
	none := archive.New(t)
	before := debianLists
	t.Cleanup(func() { debianLists = before })
	debianLists = func(_ context.Context, dir, arch string, names ...string) (*apt.Lists, error) {
		a := suites[names[0]]
		if a == nil {
			a = none
		}
		return apt.Packages(dir, "[trusted=yes] "+a.URL, arch, archive.Suite), nil
	}
}

// A build takes the newest series that runs everywhere, or the named one. It keeps one kernel, and
// the lists.
func TestBuildFromPackages(t *testing.T) {
	for _, tool := range tools {
		need.Program(t, tool[0], tool[1])
	}
	need.Program(t, "dpkg-deb", "dpkg")
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	made := archive.New(t)
	made.Add("linux-source-doc-9.9", "9.9-1", nil)
	addSource(t, made, "6.12", "6.12.99")
	addSource(t, made, "6.16", "6.16.9")
	addSource(t, made, "6.17", "6.17.1")
	useArchives(t, map[string]*archive.Archive{"stable-backports": made})
	cache, err := CacheDir()
	require.NoError(t, err)
	build := func(version string) (string, string) {
		var said bytes.Buffer
		path, err := Build(BuildOptions{Version: version, Progress: &said})
		require.NoError(t, err)
		left, err := filepath.Glob(filepath.Join(cache, workPrefix+"*"))
		require.NoError(t, err)
		assert.Empty(t, left)
		return path, said.String()
	}
	path, said := build("")
	assert.Equal(t, filepath.Join(cache, "6.17.1/linux"), path)
	assert.Regexp(t, `^download linux-source-6.17 6.17.1-1\nunpack linux-source-6.17.tar.xz\ncompile, with [0-9]+ processors\nmade 6.17.1\n$`, said)
	_, said = build("")
	assert.Equal(t, "6.17.1 is there already\n", said)
	path, _ = build("6.12")
	assert.Equal(t, filepath.Join(cache, "6.12.99/linux"), path)

	// The archive has a newer version than the lists say.
	made.Remove("linux-source-6.16", "6.16.9-1")
	addSource(t, made, "6.16", "6.16.10")
	path, _ = build("6.16")
	assert.Equal(t, filepath.Join(cache, "6.16.10/linux"), path)
}

// A package that one place lacks is searched in the next. If no place has it, the error says what
// to do.
func TestSourcePlaces(t *testing.T) {
	old, next := archive.New(t), archive.New(t)
	old.Add("linux-source-6.12", "6.12.95-1", nil)
	old.Index()
	next.Add("linux-source-7.2", "7.2.12-1", nil)
	next.Index()
	useArchives(t, map[string]*archive.Archive{"stable-backports": old, "testing": next})
	b := &builder{ctx: t.Context(), cache: t.TempDir()}
	d, err := b.sourcePackage()
	require.NoError(t, err)
	assert.Equal(t, "linux-source-7.2", d.name)
	assert.Equal(t, "7.2.12", d.release())

	next.Remove("linux-source-7.2", "7.2.12-1")
	next.Index()
	b = &builder{ctx: t.Context(), cache: t.TempDir()}
	_, err = b.sourcePackage()
	assert.EqualError(t, err, "no package of a kernel's source: Debian's backports: no linux-source-6.16 or later: no such package; "+
		"Debian's next release: no linux-source-6.16 or later: no such package; name a kernel's source, a tar file, with --source FILE")

	debianLists = func(ctx context.Context, dir, arch string, suites ...string) (*apt.Lists, error) {
		return apt.Debian(ctx, dir, arch, suites...) // as on a machine whose apt has no Debian
	}
	archive.Configure(t)
	t.Setenv("BINPROXY_MIRROR", "")
	_, err = b.sourcePackage()
	assert.ErrorContains(t, err, "the machine's apt names no Debian mirror")
	assert.ErrorContains(t, err, "name a kernel's source, a tar file, with --source FILE")
}
