package preload_test

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
	"binproxy/emu/config"
	"binproxy/shim/preload"
	"binproxy/test/built"
	"binproxy/test/need"
)

// libraries compiles the libraries for each ABI that this machine has a compiler for. They are kept for the next run of the same sources.
func libraries(t *testing.T) fs.FS {
	t.Helper()
	need.Program(t, "gcc", "gcc")
	dir, err := compileOnce()
	require.NoError(t, err)
	return os.DirFS(dir)
}

var compileOnce = sync.OnceValues(func() (string, error) {
	root, err := built.Root()
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	key, err := fingerprint(root)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "binproxy", "preload-"+key)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	temp := fmt.Sprintf("%s.%d", dir, os.Getpid())
	defer os.RemoveAll(temp)
	if err := build(root, temp); err != nil {
		return "", err
	}
	if err := os.Rename(temp, dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	return dir, nil
})

// fingerprint tells sources and compilers apart.
func fingerprint(root string) (string, error) {
	h := sha256.New()
	sources, err := filepath.Glob(filepath.Join(root, "shim/preload/c/*"))
	if err != nil {
		return "", err
	}
	for _, path := range append(sources, filepath.Join(root, "scripts/preload-build")) {
		text, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%s %d %s", filepath.Base(path), len(text), text)
	}
	compilers, err := filepath.Glob("/usr/bin/*-linux-gnu*-gcc")
	if err != nil {
		return "", err
	}
	for _, path := range compilers {
		if path, err = filepath.EvalSymlinks(path); err != nil {
			return "", err
		}
		fi, err := os.Stat(path)
		if err != nil {
			return "", err
		}
		fmt.Fprintln(h, path, fi.Size(), fi.ModTime().Unix())
	}
	return fmt.Sprintf("%x", h.Sum(nil))[:12], nil
}

func build(root, out string, abis ...string) error {
	cmd := exec.Command(filepath.Join(root, "scripts", "preload-build"), append([]string{out}, abis...)...)
	cmd.Stderr = os.Stderr
	return cmd.Run()
}

// compile compiles a program of testdata for the compiler's ABI.
func compile(t *testing.T, compiler, source string, flags ...string) string {
	t.Helper()
	path, err := exec.LookPath(compiler)
	need.Installed(t, err == nil, compiler)
	out := filepath.Join(t.TempDir(), strings.TrimSuffix(source, ".c"))
	cmd := exec.Command(path, append([]string{"-Wall", "-Werror", "-o", out, filepath.Join("testdata", source)}, flags...)...)
	text, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s\n%s", cmd, text)
	return out
}

// newBundle makes a bundle whose program and emulators all are the program that shows how it was called.
func newBundle(t *testing.T, dir string, c config.Config) config.Config {
	t.Helper()
	c.Dir = dir
	files, err := preload.Tree(libraries(t), arch.Host(), arch.All())
	require.NoError(t, err)
	require.NoError(t, preload.Write(dir, files))
	show, err := os.ReadFile(compile(t, "gcc", "show.c", "-static"))
	require.NoError(t, err)
	programs := []string{c.Self()}
	for _, e := range c.Emulators {
		programs = append(programs, filepath.Join(dir, e.Path))
		if e.Loader != "" {
			programs = append(programs, filepath.Join(dir, e.Loader))
		}
	}
	for _, path := range programs {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, show, 0o755))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, config.Name), c.Marshal(), 0o644))
	return c
}

func entry(c config.Config, library string) string { return preload.Entry(c.Dir, arch.Host(), library) }

// The same compiler makes the same bytes, wherever the sources are and whatever was there before.
func TestReproducible(t *testing.T) {
	first := libraries(t)
	root, err := built.Root()
	require.NoError(t, err)
	elsewhere, out := t.TempDir(), t.TempDir()
	for _, dir := range []string{"scripts", "shim/preload/c"} {
		require.NoError(t, os.CopyFS(filepath.Join(elsewhere, dir), os.DirFS(filepath.Join(root, dir))))
	}
	abis, err := fs.Glob(first, "*")
	require.NoError(t, err)
	require.NoError(t, build(elsewhere, out, abis[0], abis[len(abis)-1]))
	assertSame(t, os.DirFS(out), first)
}

// What `make preload` left in lib/ is what the sources say.
func TestEmbeddedIsFresh(t *testing.T) {
	embedded := preload.Libraries()
	names, err := fs.Glob(embedded, "*/*.so")
	require.NoError(t, err)
	need.Given(t, len(names) > 0, "the libraries in shim/preload/lib (make preload)")
	assertSame(t, embedded, libraries(t))
}

// assertSame compares the libraries that a has with those of b, where b has the ABI.
func assertSame(t *testing.T, a, b fs.FS) {
	t.Helper()
	names, err := fs.Glob(a, "*/*.so")
	require.NoError(t, err)
	require.NotEmpty(t, names)
	for _, name := range names {
		one, err := fs.ReadFile(a, name)
		require.NoError(t, err)
		other, err := fs.ReadFile(b, name)
		if err != nil {
			continue
		}
		assert.True(t, bytes.Equal(one, other), "%s differs: make preload", name)
	}
}

// maxSize is the libraries' budget in bytes. MIPS's code is as large as that: see docs/preload.md.
func maxSize(abi *arch.ABI) int {
	if abi.EMachine == arch.Get("mipsel").EMachine {
		return 14 << 10
	}
	return 12 << 10
}

// A library is one for its ABI, needs no other, no symbol of a certain libc version, and is small.
func TestLibraries(t *testing.T) {
	all := libraries(t)
	names, err := fs.Glob(all, "*/*.so")
	require.NoError(t, err)
	require.NotEmpty(t, names)
	for _, name := range names {
		data, err := fs.ReadFile(all, name)
		require.NoError(t, err)
		f, err := elf.NewFile(bytes.NewReader(data))
		require.NoError(t, err)
		abi := arch.Get(filepath.Dir(name))
		assert.Less(t, len(data), maxSize(abi), name)
		assert.Equal(t, abi.EMachine, uint16(f.Machine), name)
		assert.Equal(t, abi.Class, map[elf.Class]int{elf.ELFCLASS32: 32, elf.ELFCLASS64: 64}[f.Class], name)
		assert.Empty(t, f.Sections, "%s has what no loader reads", name)
		checkSymbols(t, data, name)
	}
}

// checkSymbols reads the dynamic section as a loader does: without the section headers, that is what there is.
func checkSymbols(t *testing.T, library []byte, name string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "library.so")
	require.NoError(t, os.WriteFile(path, library, 0o644))
	out, err := exec.Command(need.Program(t, "readelf", "binutils"), "--use-dynamic", "--dynamic", "--syms", "--wide", path).CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.NotContains(t, string(out), "(NEEDED)", name)
	symbols := 0
	for line := range strings.Lines(string(out)) {
		// Num: Value Size Type Bind Vis Ndx Name; on ppc64le something in brackets before Ndx.
		words := strings.Fields(line)
		if len(words) < 8 || !strings.HasSuffix(words[0], ":") {
			continue
		}
		symbols++
		assert.False(t, words[len(words)-2] == "UND" && words[4] != "WEAK", "%s needs %s", name, line)
	}
	assert.Greater(t, symbols, 10, "%s: %s", name, out)
}
