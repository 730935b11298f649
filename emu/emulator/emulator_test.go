package emulator

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
	"binproxy/emu/elfinfo/tiny"
	"binproxy/test/lib/need"
)

func TestArgv(t *testing.T) {
	static := Emulator{QEMU: "arm", Path: "/b/qemu-arm"}
	dynamic := Emulator{QEMU: "arm", Path: "/b/qemu-arm", Loader: "/b/lib/ld.so"}
	loader := []string{"/b/lib/ld.so", "--library-path", "/b/lib", "--argv0", "/b/qemu-arm", "/b/qemu-arm"}
	for name, c := range map[string]struct {
		emulator Emulator
		call     Call[string]
		want     []string
	}{
		"plain":      {static, Call[string]{Argv0: "zero", File: "/bin/x"}, []string{"/b/qemu-arm", "-0", "zero", "/bin/x"}},
		"empty name": {static, Call[string]{File: "/bin/x"}, []string{"/b/qemu-arm", "-0", "", "/bin/x"}},
		"release":    {static, Call[string]{Argv0: "zero", Release: "5.4", File: "/bin/x"}, []string{"/b/qemu-arm", "-0", "zero", "-r", "5.4", "/bin/x"}},
		"dash":       {static, Call[string]{Argv0: "-", File: "-0"}, []string{"/b/qemu-arm", "-0", "-", "./-0"}},
		"own name":   {Emulator{Path: "/b/mine"}, Call[string]{Argv0: "zero", File: "x"}, []string{"/b/mine", "-0", "zero", "x"}},
		"dynamic":    {dynamic, Call[string]{Argv0: "zero", File: "/bin/x"}, append(loader[:6:6], "-0", "zero", "/bin/x")},
		"loader in /": {Emulator{Path: "/q", Loader: "/ld.so"}, Call[string]{Argv0: "zero", File: "/bin/x"},
			[]string{"/ld.so", "--library-path", "/", "--argv0", "/q", "/q", "-0", "zero", "/bin/x"}},
		"variables": {dynamic, Call[string]{Argv0: "zero", Release: "5.4", Variables: []string{"LD_A=1", "LD_B=2"}, File: "/bin/x"},
			append(loader[:6:6], "-0", "zero", "-r", "5.4", "-E", "LD_A=1", "-E", "LD_B=2", "/bin/x")},
	} {
		assert.Equal(t, c.want, c.emulator.Argv(c.call), name)
	}
	assert.Equal(t, "/b/qemu-arm", static.Program())
	assert.Equal(t, "/b/lib/ld.so", dynamic.Program())
	places := Argv(static, Call[int]{Argv0: -1, File: "/bin/x"}, func(word string) int { return len(word) })
	assert.Equal(t, []int{11, 2, -1, 6}, places, "the caller's own kind of argument")
}

// Part is one rule for every route: a variable that a loader obeys is for the guest alone, except
// for one that the emulator would split.
func TestPart(t *testing.T) {
	static, dynamic := Emulator{Path: "/q"}, Emulator{Path: "/q", Loader: "/ld.so"}
	for entry, moved := range map[string]bool{
		"LD_PRELOAD=/x.so": true, "LD_LIBRARY_PATH=": true, "LD_NEW=1": true, "GLIBC_TUNABLES=glibc.malloc.check=3": true,
		"LD_DEBUG=libs,files": false, "GLIBC_TUNABLES=glibc.cpu.hwcaps=-A,-B": false, "LD_A,B=1": false,
		"PATH=/bin": false, "OLD_LD_X=1": false, "LD=1": false, "LD_": false, "LD_NOVALUE": false, "GLIBC_TUNABLES": false, "": false,
	} {
		variables, rest := dynamic.Part([]string{"A=1", entry})
		want := []string{"A=1", entry}
		if moved {
			assert.Equal(t, []string{entry}, variables)
			want = want[:1]
		} else {
			assert.Empty(t, variables, entry)
		}
		assert.Equal(t, want, rest, entry)
		assert.Equal(t, moved, dynamic.Takes(entry), entry)
		assert.False(t, static.Takes(entry), entry)
		variables, rest = static.Part([]string{entry})
		assert.Empty(t, variables)
		assert.Equal(t, []string{entry}, rest)
	}
	assert.True(t, NamesRoot("QEMU_LD_PREFIX"))
	assert.False(t, NamesRoot("LD_PREFIX") || NamesRoot(""))
}

func TestNames(t *testing.T) {
	assert.Equal(t, []string{"qemu-arm-static", "qemu-arm"}, Names(arch.Get("armhf")))
	assert.Empty(t, Names(arch.Get("x32")))
	assert.Equal(t, "qemu-arm", Emulator{QEMU: "arm", Path: "/opt/qemu-arm-static"}.InBundle())
	assert.Equal(t, "qemu-arm", Emulator{QEMU: "arm", Path: "/opt/mine"}.InBundle())
	for file, name := range map[string]string{
		"qemu-aarch64": "aarch64", "/usr/bin/qemu-aarch64-static": "aarch64", "./qemu-arm64": "aarch64", "qemu-arm": "armhf",
		"qemu-aarch64_be": "aarch64_be", "/a=b/qemu-riscv64": "riscv64",
		"qemu": "", "qemu-": "", "qemu--static": "", "qemu-img": "", "qemu-system-aarch64": "", "my-qemu-arm": "", "qemu-arm/x": "", "qemu-x32": "", "": "",
	} {
		assert.Equal(t, arch.Get(name), ByName(file), file)
	}
	for _, abi := range arch.All() {
		for _, name := range Names(abi) {
			assert.Equal(t, abi.QEMU, ByName(name).QEMU, name)
		}
	}
}

// A further dialect needs only a row with other words.
func TestDialects(t *testing.T) {
	for i := range dialects {
		assert.NotEmpty(t, dialects[i].files, i)
		for _, abi := range arch.All() {
			if abi.QEMU != "" {
				e := Emulator{QEMU: abi.QEMU, Path: "qemu-" + abi.QEMU}
				e.Path = e.InBundle()
				assert.Same(t, &dialects[i], e.dialect(), abi.Name)
			}
		}
	}
	wordless := dialect{files: []string{"other-*"}}
	assert.Equal(t, "arm", wordless.archIn("/bin/other-arm"))
	assert.Empty(t, wordless.archIn("/bin/qemu-arm"))
}

func TestParse(t *testing.T) {
	abis := func(names ...string) (list []*arch.ABI) {
		for _, name := range names {
			list = append(list, arch.Get(name))
		}
		return list
	}
	files := func(s ...string) map[string]string {
		m := map[string]string{}
		for i := 0; i < len(s); i += 2 {
			m[s[i]] = s[i+1]
		}
		return m
	}
	both, arm64 := abis("aarch64", "armhf"), abis("aarch64")
	for _, c := range []struct {
		values []string
		abis   []*arch.ABI
		want   map[string]string // nil for the error in says
		says   string
	}{
		{nil, nil, files(), ""},
		{[]string{"arm64=/x"}, nil, files("aarch64", "/x"), ""},
		{[]string{"/x"}, arm64, files("aarch64", "/x"), ""},
		{[]string{"aarch64=x", "arm=y"}, both, files("aarch64", "x", "arm", "y"), ""},
		{[]string{"qemu-arm-static", "x/qemu-aarch64"}, both, files("aarch64", "x/qemu-aarch64", "arm", "qemu-arm-static"), ""},
		{[]string{"qemu-s390x"}, nil, files("s390x", "qemu-s390x"), ""},
		{[]string{"qemu-s390x"}, arm64, files("aarch64", "qemu-s390x"), ""},
		// "=" in a file's name
		{[]string{"a=b/qemu"}, arm64, files("aarch64", "a=b/qemu"), ""},
		{[]string{"a=b/qemu-arm"}, nil, files("arm", "a=b/qemu-arm"), ""},
		{[]string{"arm64=a=b"}, nil, files("aarch64", "a=b"), ""},
		{[]string{"arm64=arm=b"}, arm64, files("aarch64", "arm=b"), ""},
		// the last one counts
		{[]string{"arm64=x", "aarch64=y"}, nil, files("aarch64", "y"), ""},
		{[]string{"armhf=x", "armel=y"}, nil, files("arm", "y"), ""},

		{[]string{""}, arm64, nil, "--emulator '': names no file; it is [ARCH=]FILE"},
		{[]string{"arm64="}, nil, nil, "--emulator arm64=: names no file"},
		{[]string{"x"}, nil, nil, "--emulator x: whose?"},
		{[]string{"a=b/qemu"}, both, nil, "--emulator a=b/qemu: whose?"},
		{[]string{"s390x=x"}, arm64, nil, "is for s390x: --arch does not name that architecture"},
		{[]string{"qemu-s390x"}, both, nil, "is for s390x: --arch does not name that architecture"},
	} {
		got, err := Parse(c.values, c.abis)
		if c.want == nil {
			require.ErrorContains(t, err, c.says, "%q", c.values)
			continue
		}
		require.NoError(t, err, "%q", c.values)
		require.Equal(t, c.want, got, "%q", c.values)
	}
}

// FuzzParse: each file that Parse reads has a name, and is the end of one of the values.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"", "=", "arm64=", "arm64=/x", "a=b/qemu-arm", "qemu-", "qemu--static", "linux/arm/v7=x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		files, err := Parse([]string{value}, nil)
		if err != nil {
			return
		}
		require.Len(t, files, 1)
		for qemu, file := range files {
			require.NotEmpty(t, file)
			again, err := Parse([]string{qemu + "=" + file}, nil)
			require.NoError(t, err)
			require.Equal(t, files, again)
		}
	})
}

func TestFind(t *testing.T) {
	first, second := t.TempDir(), t.TempDir()
	t.Chdir(t.TempDir())
	abi := arch.Get("armhf")
	lay := func(path string, mode os.FileMode) {
		require.NoError(t, os.WriteFile(path, nil, mode))
	}
	dirs := []string{"", ".", first, second}
	lay("qemu-arm-static", 0o755)
	lay(first+"/qemu-arm-static", 0o644)
	require.NoError(t, os.Mkdir(first+"/qemu-arm", 0o755))
	_, err := Find(abi, dirs)
	require.ErrorIs(t, err, fs.ErrNotExist, "neither in the working directory, nor a directory, nor what may not be executed")
	require.ErrorContains(t, err, "no emulator for armhf: looked for qemu-arm-static and qemu-arm in , ., "+first+", "+second+"; Debian")
	for _, name := range []string{second + "/qemu-arm", second + "/qemu-arm-static"} {
		lay(name, 0o755)
		got, err := Find(abi, dirs)
		require.NoError(t, err)
		require.Equal(t, name, got, "a static one before another of the same directory")
	}
	require.NoError(t, os.Remove(first+"/qemu-arm"))
	lay(first+"/qemu-arm", 0o755)
	got, err := Find(abi, dirs)
	require.NoError(t, err)
	require.Equal(t, first+"/qemu-arm", got, "one of an earlier directory before all others")
	_, err = Find(arch.Get("x32"), dirs)
	require.EqualError(t, err, "QEMU has no emulator for x32 programs")

	t.Setenv("PATH", "/x:y")
	require.Equal(t, []string{"/b", "/x", "y"}, Dirs("/b"))
}

func TestCheck(t *testing.T) {
	dir := t.TempDir()
	own, err := os.Executable()
	require.NoError(t, err)
	whole, err := os.ReadFile(own)
	require.NoError(t, err)
	file := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, text, 0o755))
		return path
	}
	require.NoError(t, CheckStatic(file("static", tiny.Program(arch.Host()))))
	for _, c := range []struct{ path, says string }{
		{dir + "/none", "emulator: open " + dir + "/none: no such file"},
		{dir, "not a regular file"},
		{file("text", []byte("text")), "text: not an ELF file"},
		{file("foreign", tiny.Program(arch.Get("s390x"))), "is a program for s390x; it has to be one for the host"},
		{file("cut", whole[:100_000]), "is damaged: it has 100000 bytes of "},
	} {
		_, err := Check(c.path)
		require.ErrorContains(t, err, c.says)
		require.ErrorContains(t, CheckStatic(c.path), c.says)
	}
	shell, err := filepath.EvalSymlinks(need.Program(t, "sh", "dash"))
	require.NoError(t, err)
	dynamic, err := Check(shell)
	require.NoError(t, err)
	need.Given(t, dynamic, "a dynamically linked shell")
	require.ErrorContains(t, CheckStatic(shell), "is dynamically linked")
}

// The real ones, by themselves and by a loader.
func TestVersion(t *testing.T) {
	e := Emulator{QEMU: "aarch64", Path: need.Emulator(t, "aarch64")}
	require.Regexp(t, `^qemu-aarch64 version [0-9]+\.[0-9]`, e.Says())
	require.Equal(t, "qemu-aarch64 version "+e.Version(), e.Says())
	require.Empty(t, Emulator{Path: "/nowhere/qemu-arm"}.Version())
	require.Empty(t, Emulator{Path: need.Program(t, "false", "coreutils")}.Says())
}
