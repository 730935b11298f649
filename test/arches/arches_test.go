package arches

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
	"binproxy/emu/elfinfo"
	"binproxy/test/lib/built"
	"binproxy/test/lib/ended"
	"binproxy/test/lib/need"
)

// archs are Debian 12's release architectures except for amd64, and the one that Debian 13 adds.
var archs = []struct{ suite, arch string }{
	{"bookworm", "arm64"}, {"bookworm", "armhf"}, {"bookworm", "armel"}, {"bookworm", "i386"}, {"bookworm", "mips64el"},
	{"bookworm", "mipsel"}, {"bookworm", "ppc64el"}, {"bookworm", "s390x"}, {"trixie", "riscv64"},
}

const release = "4.15.0-112-generic"

// behaviours are what each architecture's programs do.
var behaviours = []struct {
	name     string
	argv     []string
	out, err string
	status   int
}{
	{name: "static", argv: []string{"/bin/busybox", "expr", "6", "*", "7"}, out: "42\n"},
	{name: "dynamic", argv: []string{"/bin/dash", "-c", "echo $((6*7)); exit 7"}, out: "42\n", status: 7},
	{name: "script", argv: []string{"/script", "a b", ""}, out: "/script <a b> <> 2\n"},
	{name: "child", argv: []string{"/bin/dash", "-c", `x=$(/bin/busybox echo child); /bin/dash -c "exit 5"; echo $x $?`}, out: "child 5\n"},
	{name: "signal", argv: []string{"/bin/dash", "-c", `trap 'echo caught; exit 9' TERM; kill -TERM $$; echo never`}, out: "caught\n", status: 9},
	{name: "death by signal", argv: []string{"/bin/dash", "-c", "kill -KILL $$"}, status: -9},
	{name: "not found", argv: []string{"/bin/dash", "-c", "/bin/no-such; echo $?"}, out: "127\n", err: "not found"},
}

func TestEveryArchitecture(t *testing.T) {
	need.Root(t) // for chroot
	program := built.Binproxy(t)
	for _, a := range archs {
		t.Run(a.arch, func(t *testing.T) {
			// one of each size, and of each byte order
			if !slices.Contains([]string{"arm64", "armhf", "s390x"}, a.arch) {
				need.Long(t)
			}
			t.Parallel()
			abi, err := arch.Parse(a.arch)
			require.NoError(t, err)
			emulator := need.Emulator(t, abi.QEMU)
			dir := writable(t, root(t, a.suite, a.arch))
			isOf(t, abi, dir)
			run := func(args ...string) (string, string, int) {
				// i386 runs in an emulator because the test asks for it: the host could run it
				// itself.
				return output(t, program, append([]string{"run", "--root", dir, "--arch", a.arch, "--emulator", emulator, "--route", "supervise"}, args...)...)
			}
			for _, b := range behaviours {
				t.Run(b.name, func(t *testing.T) {
					stdout, stderr, status := run(append([]string{"--"}, b.argv...)...)
					assert.Equal(t, b.out, stdout)
					assert.Equal(t, b.status, status)
					if b.err == "" {
						assert.Empty(t, stderr)
					} else {
						assert.Contains(t, stderr, b.err)
					}
				})
			}
			t.Run("identity", func(t *testing.T) {
				stdout, _, _ := run("--release", release, "--", "/bin/dash", "-c", "/bin/busybox uname -r; /bin/busybox uname -m")
				assert.Equal(t, release+"\n"+machine(t, abi, emulator)+"\n", stdout)
			})
		})
	}
}

// writable is the root together with the tests' files; its large files are links to the shared
// ones.
func writable(t *testing.T, shared string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "root")
	if out, err := exec.Command("cp", "-al", shared, dir).CombinedOutput(); err != nil {
		t.Logf("cp -al: %s", out) // the temporary directory is on another file system
		require.NoError(t, os.RemoveAll(dir))
		require.NoError(t, exec.Command("cp", "-a", shared, dir).Run())
	}
	script := "#!/bin/dash -e\necho $0 \"<$1>\" \"<$2>\" $#\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "script"), []byte(script), 0o755))
	return dir
}

// isOf checks that the files are of the architecture, one static and one dynamic.
func isOf(t *testing.T, abi *arch.ABI, dir string) {
	t.Helper()
	for name, static := range map[string]bool{"busybox": true, "dash": false} {
		f, err := os.Open(filepath.Join(dir, "usr/bin", name))
		require.NoError(t, err)
		defer f.Close()
		info, err := elfinfo.Read(f)
		require.NoError(t, err)
		assert.Equal(t, abi, info.ABI(), name)
		assert.Equal(t, static, info.Static(), name)
	}
}

// machine is what the emulator shows a program that runs without us.
func machine(t *testing.T, abi *arch.ABI, emulator string) string {
	t.Helper()
	if abi.Name == "i386" {
		return "i686"
	}
	for _, a := range archs {
		if a.arch == abi.Debian {
			out, err := exec.Command(emulator, filepath.Join(root(t, a.suite, a.arch), "usr/bin/busybox"), "uname", "-m").Output()
			require.NoError(t, err)
			return strings.TrimSpace(string(out))
		}
	}
	t.Fatalf("%s is not in the table", abi.Debian)
	return ""
}

func output(t *testing.T, program string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", &out, &errs
	err := cmd.Run()
	require.NotNil(t, cmd.ProcessState, "%v", err)
	return out.String(), errs.String(), ended.Status(cmd.ProcessState)
}
