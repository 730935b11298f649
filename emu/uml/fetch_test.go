package uml

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/test/lib/archive"
	"binproxy/test/lib/need"
)

// compileC compiles a program in C.
func compileC(t *testing.T, path, source string, flags ...string) {
	t.Helper()
	gcc := need.Program(t, "gcc", "gcc")
	file := filepath.Join(t.TempDir(), "program.c")
	write(t, file, source)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	out, err := exec.Command(gcc, append(flags, "-o", path, file)...).CombinedOutput()
	require.NoError(t, err, string(out))
}

// byItsLoader is a kernel that prints its release only if a loader runs it, as a program of
// another release of the distribution must be run.
const byItsLoader = `#include <stdio.h>
#include <string.h>
#include <unistd.h>
int main(void)
{
	char exe[4096] = "";
	if (readlink("/proc/self/exe", exe, sizeof exe - 1) < 0 || !strstr(exe, "/lib/ld-"))
		return fprintf(stderr, "run as %s\n", exe) < 0;
	return puts("7.9.1") < 0;
}
`

func TestFetch(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	tree := t.TempDir()
	kernel := filepath.Join(tree, debianKernel)
	compileC(t, kernel, byItsLoader)
	modules := filepath.Join(tree, debianModules, "7.9.1")
	for _, name := range []string{"a/fuse.ko", "a/overlay.ko", "b/binfmt_misc.ko", "b/other.ko"} {
		write(t, filepath.Join(modules, name), name)
	}
	write(t, filepath.Join(modules, modulesIndex), "a/fuse.ko:\na/overlay.ko: a/fuse.ko\nb/binfmt_misc.ko:\nb/other.ko:\n")
	libs, err := libraries(kernel)
	require.NoError(t, err)
	c := t.TempDir()
	for lib := range slices.Chunk(libs, 2) {
		text, err := os.ReadFile(lib[0])
		require.NoError(t, err)
		path := filepath.Join(c, "usr/lib/any", filepath.Base(lib[1]))
		write(t, path, string(text))
		require.NoError(t, os.Chmod(path, 0o755))
	}
	write(t, filepath.Join(c, "usr/lib/any/libm.so.6"), "not needed")
	next := archive.New(t)
	next.AddTree(tree, kernelPackage, "7.9um1")
	next.AddTree(c, cPackage, "2.99-1")
	next.Index()
	useArchives(t, map[string]*archive.Archive{"testing": next})

	cache, err := CacheDir()
	require.NoError(t, err)
	var said bytes.Buffer
	path, err := Fetch(&said)
	require.NoError(t, err)
	dir := filepath.Join(cache, "user-mode-linux_7.9um1")
	assert.Equal(t, filepath.Join(dir, "linux"), path)
	assert.Equal(t, "download user-mode-linux 7.9um1\nfetched 7.9.1\n", said.String())
	assert.ElementsMatch(t, []string{"linux", "lib/libc.so.6", "lib/ld-linux-x86-64.so.2", "modules/7.9.1/modules.dep",
		"modules/7.9.1/a/fuse.ko", "modules/7.9.1/a/overlay.ko", "modules/7.9.1/b/binfmt_misc.ko"}, files(t, dir))
	said.Reset()
	_, err = Fetch(&said)
	require.NoError(t, err)
	assert.Equal(t, "user-mode-linux 7.9um1 is there already\n", said.String())
	left, err := filepath.Glob(filepath.Join(cache, workPrefix+"*"))
	require.NoError(t, err)
	assert.Empty(t, left)

	for _, name := range []string{"", "7.9.1", "user-mode-linux_7.9um1"} {
		k, err := Find(name)
		require.NoError(t, err)
		assert.Equal(t, path, k.Path)
		assert.Equal(t, filepath.Join(dir, "lib/ld-linux-x86-64.so.2"), k.loader)
		assert.ElementsMatch(t, []string{k.loader, "/lib64/ld-linux-x86-64.so.2", filepath.Join(dir, "lib/libc.so.6"), "/lib/libc.so.6"}, k.libs)
		modules, err := k.modulesFor(&job{Mode: modeOverlay, Arch: "arm64"})
		require.NoError(t, err)
		at := filepath.Join(dir, "modules/7.9.1")
		assert.Equal(t, []string{filepath.Join(at, "a/fuse.ko"), filepath.Join(at, "a/overlay.ko"), filepath.Join(at, "b/binfmt_misc.ko")}, modules)
	}
	// Built kernels come first, whatever their release.
	compileC(t, filepath.Join(cache, "6.13/linux"), "#include <stdio.h>\nint main(void) { return puts(\"6.13.0\") < 0; }\n")
	k, err := Find("")
	require.NoError(t, err)
	assert.Equal(t, "6.13.0", k.Release)
}

// A kernel is not kept if its libraries cannot be had.
func TestFetchWithoutLibraries(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	tree := t.TempDir()
	compileC(t, filepath.Join(tree, debianKernel), byItsLoader)
	next := archive.New(t)
	next.AddTree(tree, kernelPackage, "7.9um1")
	next.Index()
	useArchives(t, map[string]*archive.Archive{"unstable": next})
	_, err := Fetch(io.Discard)
	assert.EqualError(t, err, "libc6: no such package")
	next.AddTree(t.TempDir(), cPackage, "2.99-1")
	next.Index()
	cache, err := CacheDir()
	require.NoError(t, err)
	require.NoError(t, os.RemoveAll(filepath.Join(cache, "apt")))
	_, err = Fetch(io.Discard)
	assert.EqualError(t, err, "user-mode-linux 7.9um1: linux needs libc.so.6, which is not in libc6")
	dirs, err := filepath.Glob(filepath.Join(cache, "*um*"))
	require.NoError(t, err)
	assert.Empty(t, dirs)
}

// If a kernel does not start, the error has the message of the kernel or its loader.
func TestDoesNotStart(t *testing.T) {
	dir := t.TempDir()
	compileC(t, filepath.Join(dir, "kernel"), byItsLoader)
	_, err := Open(filepath.Join(dir, "kernel"))
	assert.EqualError(t, err, "kernel "+dir+"/kernel: asked for its version, it says nothing but \"run as "+dir+"/kernel\"; "+
		"a kernel that needs other libraries than this machine has can be had, with those, by binproxy uml kernel fetch")
	_, err = Open("/bin/true")
	assert.ErrorContains(t, err, `not a User Mode Linux kernel: asked for its version, it says "true`)
}

// files lists the files of a directory, at any depth.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			name, _ := filepath.Rel(dir, path)
			names = append(names, name)
		}
		return err
	}))
	return names
}
