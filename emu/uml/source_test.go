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
	"binproxy/test/mirror"
	"binproxy/test/need"
)

// sourceDeb is a package of a kernel's source, which make builds in a moment: what it calls linux
// is a program that says its release.
func sourceDeb(t *testing.T, series, release string) string {
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
	return deb(t, "linux-source-"+series, release+"-1", pkg)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
}

// useArchives has Debian's suites be these, by their names; what is missing is an archive without
// packages.
func useArchives(t *testing.T, suites map[string]*mirror.Archive) {
	t.Helper()
	none := mirror.New(t, nil)
	before := debianLists
	t.Cleanup(func() { debianLists = before })
	debianLists = func(_ context.Context, dir, arch string, names ...string) (*apt.Lists, error) {
		a := suites[names[0]]
		if a == nil {
			a = none
		}
		return apt.Packages(dir, "[trusted=yes] "+a.URL, arch, mirror.Suite), nil
	}
}

// A build takes the newest series that runs everywhere, or the one that is named; what it brings
// is one kernel, and the lists.
func TestBuildFromPackages(t *testing.T) {
	for _, tool := range tools {
		need.Program(t, tool[0], tool[1])
	}
	need.Program(t, "dpkg-deb", "dpkg")
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	made := mirror.New(t, map[string]string{
		"linux-source-6.12_6.12.99-1": sourceDeb(t, "6.12", "6.12.99"),
		"linux-source-6.16_6.16.9-1":  sourceDeb(t, "6.16", "6.16.9"),
		"linux-source-6.17_6.17.1-1":  sourceDeb(t, "6.17", "6.17.1"),
		"linux-source-doc-9.9_9.9-1":  "no series",
	})
	useArchives(t, map[string]*mirror.Archive{"stable-backports": made})
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
	made.Set(func() { delete(made.Packages, "linux-source-6.16_6.16.9-1") })
	made.Set(func() { made.Packages["linux-source-6.16_6.16.10-1"] = sourceDeb(t, "6.16", "6.16.10") })
	path, _ = build("6.16")
	assert.Equal(t, filepath.Join(cache, "6.16.10/linux"), path)
}

// What is not in one place is looked for in the next; what is nowhere is said, with what to do.
func TestSourcePlaces(t *testing.T) {
	next := mirror.New(t, map[string]string{"linux-source-7.2_7.2.12-1": ""})
	useArchives(t, map[string]*mirror.Archive{
		"stable-backports": mirror.New(t, map[string]string{"linux-source-6.12_6.12.95-1": ""}), "testing": next,
	})
	b := &builder{ctx: t.Context(), cache: t.TempDir()}
	d, err := b.sourcePackage()
	require.NoError(t, err)
	assert.Equal(t, "linux-source-7.2", d.name)
	assert.Equal(t, "7.2.12", d.release())

	next.Set(func() { next.Packages = nil })
	b = &builder{ctx: t.Context(), cache: t.TempDir()}
	_, err = b.sourcePackage()
	assert.EqualError(t, err, "no package of a kernel's source: Debian's backports: no linux-source-6.16 or later: no such package; "+
		"Debian's next release: no linux-source-6.16 or later: no such package; name a kernel's source, a tar file, with --source FILE")

	debianLists = func(ctx context.Context, dir, arch string, suites ...string) (*apt.Lists, error) {
		return apt.Debian(ctx, dir, arch, suites...) // as on a machine whose apt has no Debian
	}
	sources := filepath.Join(t.TempDir(), "apt.conf")
	write(t, sources, "Dir::Etc::SourceList \"/dev/null\";\nDir::Etc::SourceParts \"-\";\n")
	t.Setenv("APT_CONFIG", sources)
	_, err = b.sourcePackage()
	assert.ErrorContains(t, err, "the machine's apt names no Debian mirror")
	assert.ErrorContains(t, err, "name a kernel's source, a tar file, with --source FILE")
}
