// Package host gives tests a host to which they may do anything: namespaces that look like a
// machine that systemd set up, with every mount shared, an empty /run, an empty binfmt_misc of its
// own (Linux 6.7 and later) and subordinate ids for an ordinary user. The machine itself does not
// change, and all processes and mounts end with the tests.
package host

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"binproxy/emu/sys"
	"binproxy/test/lib/need"
)

// inside marks a test process that is in the host; why has the reason if there is no host.
// inherited lists the numbers of mounts in the machine's directory for temporary files: other
// programs' mounts, which end when those remove their directories.
const (
	inside    = "BINPROXY_TEST_HOST"
	why       = "BINPROXY_TEST_NO_HOST"
	inherited = "BINPROXY_TEST_HOST_INHERITED"
)

// User is the ordinary user of the host: nobody, which every distribution has. UserID is its uid
// and gid.
const (
	User   = "nobody"
	UserID = 65534

	FirstSubordinate = 100000 // of 65536 subordinate ids
)

// Main is the TestMain of a package whose tests use the host. Only root gets one. For anybody
// else, and if the kernel does not let us, tests that need one skip.
func Main(m *testing.M) {
	switch {
	case os.Getenv(inside) != "":
		if err := setup(); err != nil {
			fmt.Fprintln(os.Stderr, "test host:", err)
			os.Exit(1)
		}
	case os.Geteuid() == 0 && os.Getenv(why) == "":
		os.Exit(again())
	}
	os.Exit(m.Run())
}

// again runs this test program once more, in the host.
func again() int {
	everybody := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1<<32 - 1}}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID,
		UidMappings: everybody, GidMappings: everybody, GidMappingsEnableSetgroups: true,
		Pdeathsig: syscall.SIGKILL,
	}
	err := cmd.Run()
	var status *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &status):
		return status.ExitCode()
	}
	os.Setenv(why, err.Error())
	return withoutHost()
}

// withoutHost runs the tests in this process; tests that need a host skip.
func withoutHost() int {
	err := syscall.Exec("/proc/self/exe", os.Args, os.Environ())
	fmt.Fprintln(os.Stderr, "test host:", err)
	return 1
}

func setup() error {
	syscall.Umask(0o022) // as after a login
	dir, err := os.MkdirTemp("", "host-")
	if err != nil {
		return err
	}
	subordinate := filepath.Join(dir, "subuid")
	if err := os.WriteFile(subordinate, fmt.Appendf(nil, "%s:%d:65536\n", User, FirstSubordinate), 0o644); err != nil {
		return err
	}
	steps := []func() error{
		func() error { return sys.MakePrivate("/") },
		func() error { return sys.Mount("proc", "/proc", "proc", 0, "") },
		func() error { return sys.Mount("run", "/run", "tmpfs", 0, "mode=755") },
		func() error { return sys.Mount("binfmt_misc", "/proc/sys/fs/binfmt_misc", "binfmt_misc", 0, "") },
		func() error { return sys.Bind(subordinate, "/etc/subuid") },
		func() error { return sys.Bind(subordinate, "/etc/subgid") },
		func() error { return os.RemoveAll(dir) }, // the mounts keep the file
		func() error { return sys.Mount("none", "/", "", syscall.MS_REC|syscall.MS_SHARED, "") },
		noteInherited,
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// Need skips the test if there is no host.
func Need(t testing.TB) {
	t.Helper()
	need.Root(t)
	need.Given(t, os.Getenv(inside) != "", "a user namespace with a binfmt_misc of its own, Linux 6.7 or later ("+os.Getenv(why)+")")
}

// As makes the command run as the ordinary user with that home (from Home), which also has the
// user's XDG_RUNTIME_DIR.
func As(cmd *exec.Cmd, home string) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: UserID, Gid: UserID}}
	cmd.Env = append(Env(), "HOME="+home, "XDG_RUNTIME_DIR="+home+"/run", "USER="+User)
	cmd.Dir = home
}

// Home makes a home for the ordinary user, with a directory run in it.
func Home(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "home-")
	if err == nil {
		err = errors.Join(os.Chmod(dir, 0o755), os.Mkdir(dir+"/run", 0o700), os.Chown(dir, UserID, UserID), os.Chown(dir+"/run", UserID, UserID))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// Reachable lets every user reach a test's directory: a container's users, and an engine in a user
// namespace. The directory for temporary files, which others use as well, stays as it is.
func Reachable(t testing.TB, path string) {
	t.Helper()
	for ; path != filepath.Clean(os.TempDir()) && path != filepath.Dir(path); path = filepath.Dir(path) {
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// Env is the environment without the host's and the user's variables.
func Env() []string {
	var env []string
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		switch name {
		case inside, why, "HOME", "USER", "XDG_RUNTIME_DIR":
		default:
			env = append(env, v)
		}
	}
	return env
}

func noteInherited() error {
	text, err := os.ReadFile("/proc/self/mountinfo")
	var ids []string
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); strings.HasPrefix(f[4], os.TempDir()+"/") {
			ids = append(ids, f[0])
		}
	}
	return errors.Join(err, os.Setenv(inherited, strings.Join(ids, " ")))
}

// Mounts are the mounts of the process: the lines of proc_pid_mountinfo(5), without those of other
// programs that may end at any time.
func Mounts(t testing.TB) []string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	others := strings.Fields(os.Getenv(inherited))
	var lines []string
	for line := range strings.Lines(string(text)) {
		if !slices.Contains(others, strings.Fields(line)[0]) {
			lines = append(lines, line)
		}
	}
	return lines
}
