// Package uml boots User Mode Linux kernels, ours and Debian's, as root and as an ordinary user, and looks at what gets in, what
// comes out, and what is left behind.
package uml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/u-root/u-root/pkg/ldd"
	"golang.org/x/sys/unix"

	"binproxy/emu/uml"
	"binproxy/test/built"
	"binproxy/test/need"
)

// ordinary is a user that has nothing on this machine, not even a name.
const ordinary = 54321

// shared is a directory that every user may read: the program, the kernels and a root lie there.
var shared string

func TestMain(m *testing.M) {
	if mode := os.Getenv("UML_TEST_HELPER"); mode != "" {
		helper(mode)
	}
	// What a run leaves behind becomes our child, so that it can be seen.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		panic(err)
	}
	var err error
	if shared, err = os.MkdirTemp("", "uml-test-"); err != nil {
		panic(err)
	}
	os.Chmod(shared, 0o755)
	for dir := shared; dir != "/"; dir = filepath.Dir(dir) { // the test's own TMPDIR may be closed to others
		if fi, err := os.Stat(dir); err == nil && os.Geteuid() == 0 && fi.Mode().Perm()&0o11 != 0o11 {
			os.Chmod(dir, fi.Mode().Perm()|0o11)
		}
	}
	code := m.Run()
	os.RemoveAll(shared)
	os.Exit(code)
}

// setup copies the program and makes the root, once.
var setup = sync.OnceValue(func() error {
	root := filepath.Join(shared, "root")
	for _, dir := range []string{"bin", "etc", "proc", "sys", "dev", "tmp", "run", "root", "mnt", "www"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			return err
		}
	}
	return errors.Join(makeBusybox(root), os.WriteFile(filepath.Join(root, "etc/motd"), []byte("hello\n"), 0o644))
})

func makeBusybox(root string) error {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return err
	}
	if err := copyFile(busybox, filepath.Join(root, "bin/busybox")); err != nil {
		return err
	}
	if libs, err := ldd.List(busybox); err == nil {
		for _, lib := range libs {
			if err := copyFile(lib, filepath.Join(root, lib)); err != nil {
				return err
			}
		}
	}
	for _, name := range strings.Fields("ash cat chmod chown cp dd dmesg echo env find grep head hostname httpd id ifconfig ln ls md5sum mkdir mkfifo mknod " +
		"mount mv nc nslookup ps pwd reset rm sh sha256sum sleep sort stat stty sync tail tee test touch true tty umount uname vi wc wget yes") {
		if err := os.Symlink("busybox", filepath.Join(root, "bin", name)); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(from, to string) error {
	text, err := os.ReadFile(from)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(to), 0o755)
	}
	if err == nil {
		err = os.WriteFile(to, text, 0o755)
	}
	return err
}

// testCase is one kernel with one user.
type testCase struct {
	kernel string
	uid    int
	dir    string // the user's own: HOME and TMPDIR lie in it
}

// kernels are the two.
func kernels(t *testing.T) map[string]string {
	found := map[string]string{}
	for _, k := range uml.Kernels() {
		name := "ours"
		if k.Path == "/usr/bin/linux.uml" {
			name = "debian"
		}
		if found[name] == "" {
			found[name] = k.Path
		}
	}
	need.Installed(t, found["debian"] != "", "Debian's kernel (package user-mode-linux)")
	need.Installed(t, found["ours"] != "", "a kernel of ours (binproxy uml kernel build)")
	for name, path := range found {
		to := filepath.Join(shared, name, "linux")
		if _, err := os.Stat(to); err != nil {
			require.NoError(t, copyFile(path, to))
		}
		found[name] = to
	}
	return found
}

// each runs a test for every kernel and user.
func each(t *testing.T, test func(t *testing.T, c *testCase)) {
	for _, name := range []string{"ours", "debian"} {
		for _, uid := range users() {
			t.Run(fmt.Sprintf("%s/%d", name, uid), func(t *testing.T) { test(t, newCase(t, name, uid)) })
		}
	}
}

func users() []int {
	if os.Geteuid() == 0 {
		return []int{0, ordinary}
	}
	return []int{os.Geteuid()}
}

// one is the case of our kernel and the least of the users.
func one(t *testing.T) *testCase { return newCase(t, "ours", users()[len(users())-1]) }

func newCase(t *testing.T, name string, uid int) *testCase {
	t.Helper()
	need.Program(t, "busybox", "busybox")
	require.NoError(t, setup())
	program := filepath.Join(shared, "binproxy")
	if _, err := os.Stat(program); err != nil {
		require.NoError(t, copyFile(built.Binproxy(t), program))
	}
	c := &testCase{kernel: kernels(t)[name], uid: uid}
	dir, err := os.MkdirTemp(shared, "user-")
	require.NoError(t, err)
	c.dir = dir
	for _, sub := range []string{"", "home", "tmp"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, sub), 0o755))
		require.NoError(t, os.Chown(filepath.Join(dir, sub), uid, uid))
	}
	before := mounts(t)
	t.Cleanup(func() {
		require.Empty(t, left(), "processes that a run left")
		for _, sub := range []string{"home", "tmp"} {
			names, err := os.ReadDir(filepath.Join(dir, sub))
			require.NoError(t, err)
			require.Empty(t, names, "files that a run left in %s", sub)
		}
		require.Equal(t, before, mounts(t), "mounts")
		os.RemoveAll(dir)
	})
	return c
}

func mounts(t *testing.T) string {
	text, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	var ours []string
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, shared) || strings.Contains(line, "hostfs") {
			ours = append(ours, line)
		}
	}
	return strings.Join(ours, "")
}

// left waits for what is ending, reaps it, and lists the children that live on.
func left() []string {
	var alive []string
	for range 100 {
		for {
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
		if alive = children(); len(alive) == 0 {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return alive
}

func children() []string {
	var alive []string
	lists, _ := filepath.Glob("/proc/self/task/*/children")
	for _, list := range lists {
		text, _ := os.ReadFile(list)
		for _, pid := range strings.Fields(string(text)) {
			cmdline, _ := os.ReadFile("/proc/" + pid + "/cmdline")
			alive = append(alive, pid+" "+string(bytes.ReplaceAll(cmdline, []byte{0}, []byte{' '})))
		}
	}
	return alive
}

// command is binproxy uml run with the case's kernel, on the busybox root unless args say otherwise.
func (c *testCase) command(args ...string) *exec.Cmd {
	all := []string{"uml", "run", "--kernel", c.kernel}
	if !slices.Contains(args, "--root") {
		all = append(all, "--root", filepath.Join(shared, "root"))
	}
	cmd := exec.Command(filepath.Join(shared, "binproxy"), append(all, args...)...)
	cmd.Dir = "/"
	cmd.Env = []string{"HOME=" + c.dir + "/home", "TMPDIR=" + c.dir + "/tmp", "PATH=/bin:/usr/bin:/usr/sbin:/sbin", "GREETING=hello  world"}
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	if c.uid != os.Geteuid() {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(c.uid), Gid: uint32(c.uid)}
	}
	return cmd
}

// result is what came out of a run.
type result struct {
	status         int
	stdout, stderr string
}

// run runs it with a standard input.
func (c *testCase) run(t *testing.T, stdin io.Reader, args ...string) result {
	t.Helper()
	return finish(t, c.command(args...), stdin)
}

func finish(t *testing.T, cmd *exec.Cmd, stdin io.Reader) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &stdout, &stderr
	err := cmd.Run()
	var exitErr *exec.ExitError
	if err != nil && !errors.As(err, &exitErr) {
		t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// sh runs a shell script in the guest and wants it to end with 0.
func (c *testCase) sh(t *testing.T, script string, args ...string) string {
	t.Helper()
	r := c.run(t, nil, append(args, "--", "sh", "-c", script)...)
	require.Equal(t, 0, r.status, "%s\n%s", r.stdout, r.stderr)
	return r.stdout
}

func lines(s string) []string { return strings.Split(strings.TrimSpace(s), "\n") }

func itoa(n int) string { return strconv.Itoa(n) }
