package uname

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
	"binproxy/emu/identity"
	"binproxy/test/lib/built"
	"binproxy/test/lib/need"
)

// bundle makes a bundle in dir, with the link uname, and gives the link's path.
func bundle(t *testing.T, dir, conf string) string {
	t.Helper()
	require.NoError(t, os.MkdirAll(dir, 0o755))
	program, err := os.ReadFile(built.Binproxy(t))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "binproxy"), program, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "binproxy.conf"), []byte(conf), 0o644))
	link := filepath.Join(dir, "uname")
	require.NoError(t, os.Symlink("binproxy", link))
	return link
}

// TestProgram compares the whole program with GNU's in what only a process has: the streams that
// fail, and the signals.
func TestProgram(t *testing.T) {
	gnus := filepath.Dir(reference(t))
	link := bundle(t, t.TempDir(), "")
	lines := []string{
		"uname -a", "uname --help", "uname --version", "uname -x", "uname --k", "uname a", "(exec -a /any/where uname -x)", "(exec -a '' uname x)",
		"uname >/dev/full", "uname --help >/dev/full", "uname --version >/dev/full", "uname -x >/dev/full", "uname a 2>/dev/full",
		"uname >&-", "uname --help >&-", "uname -x >&-", "uname 2>&-", "uname -x 2>&-", "uname >&- 2>&-", "uname <&-", "uname <&- >&- 2>&-",
		"uname 1<>/dev/null", "uname >/dev/full 2>&-", "uname </dev/null 1<&0",
		"exec 3>&1; { sleep 0.1; uname; echo $? >&3; } | true",
		"trap '' PIPE; exec 3>&1; { sleep 0.1; uname; echo $? >&3; } | true",
		"trap '' XFSZ; ulimit -f 0; uname >$TMPDIR/file",
		"POSIXLY_CORRECT= uname a --help",
	}
	for _, line := range lines {
		run := func(dir string) answer {
			var stdout, stderr bytes.Buffer
			cmd := exec.Command(need.Program(t, "bash", "bash"), "-c", line)
			cmd.Env = []string{"PATH=" + dir + ":/usr/bin:/bin", "LC_ALL=C", "TMPDIR=" + t.TempDir()}
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			err := cmd.Run()
			if exited := new(exec.ExitError); err != nil && !errors.As(err, &exited) {
				t.Fatal(err)
			}
			// If a signal ends the last command, bash may or may not have replaced itself by it.
			status := cmd.ProcessState.ExitCode()
			if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); ws.Signaled() {
				status = 128 + int(ws.Signal())
			}
			return answer{stdout.String(), stderr.String(), status}
		}
		require.Equal(t, run(gnus), run(filepath.Dir(link)), "%s", line)
	}
}

// TestIdentity runs the program with the identity set in every place.
func TestIdentity(t *testing.T) {
	kernel, err := identity.Kernel()
	require.NoError(t, err)
	long := strings.Repeat("5", 65)
	tests := []struct {
		name, conf string
		env        []string
		want       string
	}{
		{"the kernel's", "", nil, kernel.Release + " " + kernel.Version + " " + kernel.Machine},
		{"the file's release", "release 4.15.0-112-generic\n", nil, "4.15.0-112-generic #1 SMP " + kernel.Machine},
		{"the file's version", "release 4.15\nversion #7 SMP  x\n", nil, "4.15 #7 SMP  x " + kernel.Machine},
		{"the environment's", "release 4.15\nversion #7\n", []string{"BINPROXY_RELEASE=5.4"}, "5.4 #1 SMP " + kernel.Machine},
		{"one emulator", "emulator arm qemu-arm\n", nil, kernel.Release + " " + kernel.Version + " armv7l"},
		{"one emulator, two libraries", "release 4.15\nemulator aarch64 /qemu lib/ld.so\n", nil, "4.15 #1 SMP aarch64"},
		{"the file's machine", "release 4.15\nemulator arm qemu-arm\nmachine armv6l\n", nil, "4.15 #1 SMP armv6l"},
		{"the environment's machine", "release 4.15\nemulator arm qemu-arm\nmachine armv6l\n", []string{"BINPROXY_MACHINE=armv5tel"}, "4.15 #1 SMP armv5tel"},
		{"two emulators, a native userland", "release 4.15\nemulator arm qemu-arm\nemulator aarch64 qemu-aarch64\n", nil, "4.15 #1 SMP " + kernel.Machine},
		{"only container, inside", "release 4.15\nonly container\n", []string{"container=oci"}, "4.15 #1 SMP " + kernel.Machine},
		{"what no uname(2) could answer", "", []string{"BINPROXY_RELEASE=" + long},
			`binproxy: uname: release "` + long + `" has 65 bytes; uname(2) holds 64`},
		{"a broken file", "releese 4\n", nil, `binproxy: BUNDLE/binproxy.conf: line 1: unknown key "releese"`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			link := bundle(t, t.TempDir(), test.conf)
			cmd := exec.Command(link, "-rvm")
			cmd.Env = test.env
			out, err := cmd.CombinedOutput()
			if strings.HasPrefix(test.want, "binproxy: ") {
				require.Equal(t, 125, cmd.ProcessState.ExitCode())
			} else {
				require.NoError(t, err, "%s", out)
			}
			require.Equal(t, strings.ReplaceAll(test.want, "BUNDLE", filepath.Dir(link))+"\n", string(out))
		})
	}
}

// TestNames calls the shim in every way that leads to it.
func TestNames(t *testing.T) {
	dir := t.TempDir()
	link := bundle(t, filepath.Join(dir, "bundle"), "release 4.15.0\nfarm "+dir+"/farm\n")
	real := filepath.Join(dir, "bin", "uname")
	inFarm := dir + "/farm" + real
	for _, d := range []string{filepath.Dir(real), filepath.Dir(inFarm)} {
		require.NoError(t, os.MkdirAll(d, 0o755))
	}
	require.NoError(t, os.Symlink(filepath.Join(dir, "bundle", "binproxy"), inFarm))
	require.NoError(t, os.Symlink(inFarm, dir+"/chain"))
	require.NoError(t, os.Symlink(filepath.Join(dir, "bundle", "binproxy"), real))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "bin", ".binproxy.uname"), []byte("#!/bin/false\n"), 0o755))
	script := filepath.Join(dir, "script")
	require.NoError(t, os.WriteFile(script, []byte("#!"+link+" -r\n"), 0o755))
	for _, path := range []string{link, inFarm, real} {
		out, err := exec.Command(path, "-r").CombinedOutput()
		require.NoError(t, err, "%s: %s", path, out)
		require.Equal(t, "4.15.0\n", string(out), path)
	}
	out, err := exec.Command(script).CombinedOutput()
	require.Error(t, err)
	require.Equal(t, link+": extra operand '"+script+"'\nTry '"+link+" --help' for more information.\n", string(out), "as GNU's uname in a #! line")
}

// TestMachineOfTheImage: with several emulators, or none named, the machine is that of the image's
// own programs.
func TestMachineOfTheImage(t *testing.T) {
	need.Given(t, runtime.GOARCH != "arm64" && runtime.GOARCH != "arm", "a host to which arm programs are foreign")
	kernel, err := identity.Kernel()
	require.NoError(t, err)
	const both = "emulator arm qemu-arm\nemulator aarch64 qemu-aarch64\n"
	tests := []struct {
		name, conf, path, goarch, want string
	}{
		{"uname", both, "/bin/uname", "arm64", "aarch64"},
		{"merged /usr", both, "/usr/bin/uname", "arm64", "aarch64"},
		{"put in place", both, "/bin/.binproxy.uname", "arm", "armv7l"},
		{"busybox", both, "/bin/busybox", "arm", "armv7l"},
		{"no emulator named", "", "/bin/sh", "arm", "armv7l"},
		{"a native one", both, "/bin/sh", runtime.GOARCH, kernel.Machine},
		{"nothing there", both, "/etc/uname", "arm", kernel.Machine},
	}
	source := filepath.Join(t.TempDir(), "main.go")
	require.NoError(t, os.WriteFile(source, []byte("package main\n\nfunc main() {}\n"), 0o644))
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root := t.TempDir()
			link := "/binproxy/uname"
			bundle(t, root+"/binproxy", test.conf)
			require.NoError(t, os.MkdirAll(root+filepath.Dir(test.path), 0o755))
			built.Guest(t, test.goarch, source, root+test.path)
			if strings.Contains(test.path, "/.binproxy.") {
				link = "/bin/uname"
				require.NoError(t, os.Symlink("/binproxy/binproxy", root+link))
			}
			out, err := inRoot(t, root, link, "-m").CombinedOutput()
			require.NoError(t, err, "%s", out)
			require.Equal(t, test.want+"\n", string(out))
		})
	}
}

// inRoot is a command in a root directory of its own; an ordinary user needs a user namespace for
// it.
func inRoot(t *testing.T, root string, argv ...string) *exec.Cmd {
	cmd := &exec.Cmd{Path: argv[0], Args: argv, Dir: "/", Env: []string{}}
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	if os.Geteuid() != 0 {
		probe := exec.Command("/bin/true")
		probe.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER}
		need.Given(t, probe.Run() == nil, "root, or user namespaces for ordinary users")
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
	}
	return cmd
}

// TestEmulatedMachines: every emulator that a bundle can have has a machine.
func TestEmulatedMachines(t *testing.T) {
	for _, abi := range arch.All() {
		if abi.QEMU == "" {
			continue
		}
		out, err := exec.Command(bundle(t, t.TempDir(), "emulator "+abi.QEMU+" qemu\n"), "-m").Output()
		require.NoError(t, err)
		require.NotEqual(t, "\n", string(out), abi.Name)
	}
}

// TestGuestSeesTheRelease runs an emulated program through a farm: the emulator shows it the same
// release.
func TestGuestSeesTheRelease(t *testing.T) {
	emulator := need.Emulator(t, "aarch64")
	dir := t.TempDir()
	source := filepath.Join(dir, "main.go")
	require.NoError(t, os.WriteFile(source, []byte(`package main

import (
	"fmt"
	"syscall"
)

func main() {
	var u syscall.Utsname
	if err := syscall.Uname(&u); err != nil {
		panic(err)
	}
	for _, field := range [...][65]int8{u.Release, u.Machine} {
		for _, c := range field {
			if c == 0 {
				break
			}
			fmt.Printf("%c", c)
		}
		fmt.Println()
	}
}
`), 0o644))
	guest := filepath.Join(dir, "guest")
	built.Guest(t, "arm64", source, guest)
	kernel, err := identity.Kernel()
	require.NoError(t, err)
	for _, test := range []struct{ conf, env, want string }{
		{"", "NOTHING=1", kernel.Release},
		{"release 4.15.0-112-generic\n", "NOTHING=1", "4.15.0-112-generic"},
		{"release 4.15.0-112-generic\n", "BINPROXY_RELEASE=5.4.0 custom", "5.4.0 custom"},
		{"version #1\n", "BINPROXY_RELEASE=5.4.0", "5.4.0"},
	} {
		bundled := filepath.Dir(bundle(t, t.TempDir(), test.conf+"emulator aarch64 "+emulator+"\n"))
		link := bundled + "/farm" + guest
		require.NoError(t, os.MkdirAll(filepath.Dir(link), 0o755))
		require.NoError(t, os.Symlink(bundled+"/binproxy", link))
		cmd := exec.Command(link)
		cmd.Env = []string{test.env}
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Equal(t, test.want+"\naarch64\n", string(out))
		shim := exec.Command(bundled+"/uname", "-r")
		shim.Env = cmd.Env
		out, err = shim.CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Equal(t, test.want+"\n", string(out), "the shim says what the guest is told")
	}
}
