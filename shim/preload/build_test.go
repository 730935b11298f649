package preload_test

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
	"binproxy/emu/config"
	"binproxy/shim/preload"
	"binproxy/test/lib/built"
	"binproxy/test/lib/cross"
	"binproxy/test/lib/need"
)

// compile compiles a program of testdata for the host.
func compile(t *testing.T, compiler, source string, flags ...string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), strings.TrimSuffix(source, ".c"))
	run(t, exec.Command(need.Program(t, compiler, compiler), append([]string{"-Wall", "-Werror", "-o", out, filepath.Join("testdata", source)}, flags...)...))
	return out
}

// compileFor compiles a program of testdata for a guest's ABI.
func compileFor(t *testing.T, abi *arch.ABI, source string, flags ...string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), strings.TrimSuffix(source, ".c"))
	cross.Compile(t, abi, filepath.Join("testdata", source), out, append([]string{"-Wall", "-Werror"}, flags...)...)
	return out
}

// newBundle makes a bundle whose program and emulators are all one program, which prints how it
// was called.
func newBundle(t *testing.T, dir string, c config.Config) config.Config {
	t.Helper()
	c.Dir = dir
	files := preload.Tree(preload.Libraries(), arch.Host(), arch.All())
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

// The libraries in lib/ were made of the present sources: SHA256SUMS has the sums of both. It
// takes no compiler to find a change.
func TestLibrariesAreFresh(t *testing.T) {
	root, err := built.Root()
	require.NoError(t, err)
	text, err := os.ReadFile("lib/SHA256SUMS")
	require.NoError(t, err)
	sums := map[string]string{}
	for line := range strings.Lines(string(text)) {
		sum, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		require.True(t, ok, line)
		sums[name] = sum
	}
	var files []string
	for _, pattern := range []string{"scripts/preload-build", "shim/preload/c/*", "shim/preload/lib/*/*"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		require.NoError(t, err)
		files = append(files, found...)
	}
	for _, path := range files {
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		name, err := filepath.Rel(root, path)
		require.NoError(t, err)
		assert.Equal(t, sums[name], fmt.Sprintf("%x", sha256.Sum256(data)), "the libraries are stale, %s has changed: make preload", name)
		delete(sums, name)
	}
	assert.Empty(t, sums, "the libraries are stale, these are gone: make preload")
}

// The compiler version that made them makes the same bytes again, wherever the sources are.
func TestReproducible(t *testing.T) {
	root, err := built.Root()
	require.NoError(t, err)
	need.Program(t, "clang-19", "clang-19")
	need.Program(t, "ld.lld-19", "lld-19")
	elsewhere, out := t.TempDir(), t.TempDir()
	for _, dir := range []string{"scripts", "shim/preload/c"} {
		require.NoError(t, os.CopyFS(filepath.Join(elsewhere, dir), os.DirFS(filepath.Join(root, dir))))
	}
	said, err := exec.Command(filepath.Join(elsewhere, "scripts/preload-build"), out).CombinedOutput()
	if _, wanted, other := strings.Cut(string(said), "preload-build: needs "); other {
		need.Given(t, false, strings.TrimSpace(wanted))
	}
	require.NoError(t, err, "%s", said)
	names, err := fs.Glob(os.DirFS(out), "*/*.so")
	require.NoError(t, err)
	require.Equal(t, slices.Sorted(maps.Keys(preload.Libraries())), names)
	for _, name := range append(names, "SHA256SUMS") {
		made, err := os.ReadFile(filepath.Join(out, name))
		require.NoError(t, err)
		there, err := os.ReadFile(filepath.Join("lib", name))
		require.NoError(t, err)
		assert.True(t, bytes.Equal(made, there), "%s differs: make preload", name)
	}
}

// maxSize is the libraries' budget in bytes. The code of MIPS and PowerPC is larger: see
// docs/preload.md.
func maxSize(abi *arch.ABI) int {
	switch abi.Name {
	case "mipsel", "mips64el", "ppc64le":
		return 15 << 10
	}
	return 12 << 10
}

// A library is for its ABI, needs no other library and no symbol of a certain libc version, and is
// small.
func TestLibraries(t *testing.T) {
	all := preload.Libraries()
	require.Len(t, all, 20)
	for name, data := range all {
		there, err := os.ReadFile(filepath.Join("lib", name))
		require.NoError(t, err)
		assert.True(t, bytes.Equal(data, there), "%s: all.tar.gz has another: make preload", name)
		f, err := elf.NewFile(bytes.NewReader(data))
		require.NoError(t, err)
		abi := arch.Get(filepath.Dir(name))
		assert.Less(t, len(data), maxSize(abi), name)
		assert.Equal(t, abi.EMachine, uint16(f.Machine), name)
		assert.Equal(t, abi.Class, map[elf.Class]int{elf.ELFCLASS32: 32, elf.ELFCLASS64: 64}[f.Class], name)
		assert.Empty(t, f.Sections, "%s has what no loader reads", name)
		stack := slices.IndexFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_GNU_STACK })
		require.GreaterOrEqual(t, stack, 0, "%s: without it the loader makes the program's stack executable", name)
		assert.Zero(t, f.Progs[stack].Flags&elf.PF_X, name)
		checkSymbols(t, data, name)
	}
}

// checkSymbols reads the dynamic section as a loader does: there are no section headers.
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
