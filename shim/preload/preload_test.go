package preload_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
	"binproxy/emu/config"
	"binproxy/emu/exit"
	"binproxy/emu/identity"
	"binproxy/shim/farm"
	"binproxy/shim/preload"
	"binproxy/test/lib/built"
	"binproxy/test/lib/need"
)

func TestTree(t *testing.T) {
	some := preload.Set{}
	for _, abi := range []string{"x86_64", "i386", "aarch64", "armhf", "s390x"} {
		some[abi+"/exec.so"] = []byte(abi)
		some[abi+"/uname.so"] = []byte(abi)
	}
	dir := t.TempDir()
	files := preload.Tree(some, arch.Get("x86_64"), []*arch.ABI{arch.Get("aarch64"), arch.Get("riscv64")})
	for range 2 { // an earlier tree is replaced
		require.NoError(t, preload.Write(dir, files))
	}
	for _, c := range []struct{ path, want string }{
		{"aarch64/lib/aarch64-linux-gnu", "aarch64"}, // Debian
		{"aarch64/lib64", "aarch64"},                 // Fedora
		{"aarch64/lib", "aarch64"},                   // Arch
		{"aarch64/$LIB", "aarch64"},                  // musl
		{"aarch64/lib/arm-linux-gnueabihf", "armhf"},
		{"aarch64/lib/x86_64-linux-gnu", "x86_64"},
		{"x86_64/x86_64", "x86_64"},
		{"x86_64/haswell", "x86_64"},
		{"x86_64/i686", "i386"},
		{"x86_64/$PLATFORM", "x86_64"},
		{"i386/x86_64", "x86_64"},
		{"i386/$PLATFORM", "i386"},
	} {
		got, err := os.ReadFile(filepath.Join(dir, "preload", c.path, "exec.so"))
		assert.NoError(t, err)
		assert.Equal(t, c.want, string(got), c.path)
	}
	assert.NoDirExists(t, filepath.Join(dir, "preload", "s390x"), "no guest, no library")
	assert.NoDirExists(t, filepath.Join(dir, "preload", "riscv64"), "a guest without library")
}

func TestEnvironment(t *testing.T) {
	abi := arch.Get("aarch64")
	bundle := newBundle(t, filepath.Join(t.TempDir(), "b"), config.Config{})
	hook, uname := preload.Entry(bundle.Dir, abi, "exec.so"), preload.Entry(bundle.Dir, abi, "uname.so")
	assert.Equal(t, bundle.Dir+"/preload/aarch64/$LIB/exec.so", hook)
	assert.Equal(t, bundle.Dir+"/preload/x86_64/$PLATFORM/exec.so", preload.Entry(bundle.Dir, arch.Get("x86_64"), "exec.so"))
	named := bundle
	named.Identity = identity.Identity{Release: "4.4.0"}
	for _, c := range []struct {
		bundle    config.Config
		env, want []string
	}{
		{bundle, nil, []string{"LD_PRELOAD=" + hook}},
		{bundle, []string{"A=b"}, []string{"A=b", "LD_PRELOAD=" + hook}},
		{bundle, []string{"LD_PRELOAD=/a.so", "A=b"}, []string{"LD_PRELOAD=/a.so:" + hook, "A=b"}},
		{bundle, []string{"LD_PRELOAD="}, []string{"LD_PRELOAD=" + hook}},
		{bundle, []string{"LD_PRELOAD=/a.so " + hook + " /b.so"}, []string{"LD_PRELOAD=/a.so " + hook + " /b.so"}},
		{bundle, []string{"BINPROXY_RELEASE=5.4"}, []string{"BINPROXY_RELEASE=5.4", "LD_PRELOAD=" + hook + ":" + uname}},
		{named, nil, []string{"LD_PRELOAD=" + hook + ":" + uname}},
	} {
		got, err := preload.Environment(c.bundle, abi, c.env)
		require.NoError(t, err)
		assert.Equal(t, c.want, got)
	}
	_, err := preload.Environment(config.Config{Dir: "/b"}, abi, nil)
	assert.ErrorContains(t, err, "no library for aarch64 programs: stat /b/preload/aarch64/exec.so: no such file or directory")
	assert.ErrorContains(t, err, "make the bundle anew")
	assert.Equal(t, exit.Failed, exit.Code(err))
	_, err = preload.Environment(config.Config{Dir: "/b"}, arch.Get("sparc64"), nil)
	assert.ErrorContains(t, err, "there are none except for aarch64, armel, armhf, i386, mips64el, mipsel, ppc64le, riscv64, s390x, x86_64; take the supervise or the farm route")
	_, err = preload.Environment(config.Config{Dir: "/b:c"}, abi, nil)
	assert.ErrorContains(t, err, `cannot name "/b:c"`)
}

// The sh shim of a plain build's bundle takes the route: what its shell execs by absolute path
// goes through the emulator, without ptrace and without a farm.
func TestThroughSh(t *testing.T) {
	for _, goarch := range []string{"arm64", "arm"} {
		t.Run(goarch, func(t *testing.T) {
			guest, bundle := filepath.Join(t.TempDir(), "guest"), filepath.Join(t.TempDir(), "bundle")
			abi := map[string]*arch.ABI{"arm64": arch.Get("aarch64"), "arm": arch.Get("armhf")}[goarch]
			built.Guest(t, goarch, "testdata/guest.go", guest)
			run(t, exec.Command(built.Binproxy(t), "bundle", "--arch", goarch, "--emulator", need.Emulator(t, abi.QEMU), "--release", "4.15.0-112-generic", "-o", bundle))

			sh := exec.Command(bundle+"/sh", "-c", guest+` one; env -i /bin/sh -c "$0 two; uname -r"; exec `+guest+" three", guest)
			sh.Env = append(os.Environ(), "BINPROXY_ROUTE=preload")
			goos := goarch + " [" + guest + " "
			assert.Equal(t, goos+"one]\n"+goos+"two]\n4.15.0-112-generic\n"+goos+"three]\n", run(t, sh))

			lacking := exec.Command(bundle+"/sh", "-c", "exit 0")
			lacking.Env = append(os.Environ(), "BINPROXY_ROUTE=preload")
			require.NoError(t, os.RemoveAll(filepath.Join(bundle, "preload")))
			out, err := lacking.CombinedOutput()
			assert.Error(t, err)
			assert.Equal(t, exit.Failed, lacking.ProcessState.ExitCode())
			assert.Contains(t, string(out), "preload route: no library for "+arch.Host().Name+" programs")
		})
	}
}

// Nothing can be loaded into a static program, so it is refused before it runs.
func TestStatic(t *testing.T) {
	bundle := newBundle(t, filepath.Join(t.TempDir(), "b"), config.Config{})
	call := farm.Call{Config: bundle, Root: farm.Root{Self: bundle.Self()}}
	static := filepath.Join(t.TempDir(), "static")
	built.Guest(t, "arm64", "testdata/guest.go", static)
	err := preload.Exec(call, static, []string{"static"}, nil)
	assert.ErrorContains(t, err, static+" is a static program, into which nothing can be loaded; take the supervise or the farm route")
	assert.Equal(t, exit.CannotRun, exit.Code(err))
	err = preload.Exec(call, "/gone", []string{"gone"}, nil)
	assert.ErrorContains(t, err, "/gone: no such file or directory")
	assert.Equal(t, exit.NotFound, exit.Code(err))
}

func run(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	assert.Empty(t, stderr.String())
	return string(out)
}
