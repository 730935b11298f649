// Package uml boots User Mode Linux kernels, ours and Debian's, as root and as an ordinary user,
// and checks what gets in, what comes out, and what is left behind.
package uml

import (
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

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"binproxy/emu/loader"
	"binproxy/emu/uml"
	"binproxy/test/lib/built"
	"binproxy/test/lib/need"
)

// ordinary is a user that has nothing on this machine, not even a name.
const ordinary = 54321

// shared is a directory that every user may read, with the program, the kernels and a root.
var shared string

func TestMain(m *testing.M) {
	if mode := os.Getenv("UML_TEST_HELPER"); mode != "" {
		helper(mode)
	}
	// What a run leaves behind becomes our child, so that the tests can see it.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		panic(err)
	}
	var err error
	if shared, err = os.MkdirTemp("", "uml-test-"); err != nil {
		panic(err)
	}
	os.Chmod(shared, 0o755)
	// the test's own TMPDIR may be closed to others
	for dir := shared; dir != "/"; dir = filepath.Dir(dir) {
		if fi, err := os.Stat(dir); err == nil && os.Geteuid() == 0 && fi.Mode().Perm()&0o11 != 0o11 {
			os.Chmod(dir, fi.Mode().Perm()|0o11)
		}
	}
	code := m.Run()
	os.RemoveAll(shared)
	os.Exit(code)
}

// prepare makes what the cases share, once: the program, a root, a guest's program, a secret, and
// the kernel to download. So a case has no children except its own.
func prepare(t *testing.T) {
	t.Helper()
	need.Program(t, "busybox", "busybox")
	prepared.Lock()
	defer prepared.Unlock()
	if prepared.done {
		return
	}
	require.NoError(t, copyFile(built.Binproxy(t), filepath.Join(shared, "binproxy")))
	root := filepath.Join(shared, "root")
	for _, dir := range []string{"bin", "etc", "proc", "sys", "dev", "tmp", "run", "root", "mnt", "www"} {
		require.NoError(t, os.MkdirAll(filepath.Join(root, dir), 0o755))
	}
	require.NoError(t, makeBusybox(root))
	require.NoError(t, os.WriteFile(filepath.Join(root, "etc/motd"), []byte("hello\n"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(shared, "secret"), []byte("secret\n"), 0o644))
	require.NoError(t, os.MkdirAll(filepath.Join(shared, "arm64/bin"), 0o755))
	built.Guest(t, "arm64", "testdata/guest.go", filepath.Join(shared, "arm64/bin/sh"))
	if packaged() == fetched || !testing.Short() {
		prepared.fetched, prepared.fetchErr = uml.Fetch(os.Stderr)
	}
	prepared.done = true
}

var prepared struct {
	sync.Mutex
	done     bool
	fetched  string
	fetchErr error
}

func makeBusybox(root string) error {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return err
	}
	if err := copyFile(busybox, filepath.Join(root, "bin/busybox")); err != nil {
		return err
	}
	if libs, err := loader.Libraries(busybox); err == nil {
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

// The kernels: one made by binproxy uml kernel build, that of the machine's package
// user-mode-linux, and that of Debian's next release.
const (
	ours    = "ours"
	debian  = "debian"
	fetched = "fetched"
)

// testCase is one kernel with one user.
type testCase struct {
	name   string // of the kernel
	kernel string // its file
	uid    int
	dir    string // the user's own; it contains HOME and TMPDIR
}

// packaged is the kernel that needs no compiler: the machine's package if this CPU runs it, else
// the next release's.
func packaged() string {
	if k, err := uml.Open(debianKernel); err != nil || k.RunsHere() != nil {
		return fetched
	}
	return debian
}

const debianKernel = "/usr/bin/linux.uml"

// kernel is the path of a kernel that every user may read. It skips the test if the kernel is
// missing or cannot run here.
func kernel(t *testing.T, name string) string {
	t.Helper()
	kernelMu.Lock()
	defer kernelMu.Unlock()
	to := filepath.Join(shared, name)
	if _, err := os.Stat(filepath.Join(to, "linux")); err == nil {
		return filepath.Join(to, "linux")
	}
	switch name {
	case debian:
		k, err := uml.Open(debianKernel)
		need.Installed(t, err == nil, "Debian's kernel (package user-mode-linux)")
		need.Given(t, k.RunsHere() == nil, fmt.Sprintf("a CPU that Debian's kernel runs on: %v", k.RunsHere()))
		require.NoError(t, copyFile(k.Path, filepath.Join(to, "linux")))
	case fetched:
		need.Installed(t, prepared.fetchErr == nil, fmt.Sprintf("the kernel of Debian's next release (binproxy uml kernel fetch): %v", prepared.fetchErr))
		require.NoError(t, os.CopyFS(to, os.DirFS(filepath.Dir(prepared.fetched))))
	case ours:
		k := ourKernel(t)
		require.NoError(t, copyFile(k.Path, filepath.Join(to, "linux")))
	}
	return filepath.Join(to, "linux")
}

var kernelMu sync.Mutex

// buildOnce builds the kernel of the default. One that cannot be built is not tried again: asking
// mirrors in vain takes a minute.
var buildOnce = sync.OnceValues(func() (string, error) {
	return uml.Build(uml.BuildOptions{Progress: io.Discard})
})

// ourKernel is the kernel that is built by default. If there is none yet, the test builds it, or
// waits for it: make test-all begins to build it while the first tests run.
func ourKernel(t *testing.T) *uml.Kernel {
	t.Helper()
	path, err := buildOnce()
	if err == nil {
		k, err := uml.Open(path)
		require.NoError(t, err)
		return k
	}
	for _, k := range uml.Kernels() { // as without a network
		if dir := filepath.Base(filepath.Dir(k.Path)); dir[0] >= '0' && dir[0] <= '9' && k.RunsHere() == nil {
			return k
		}
	}
	need.Installed(t, false, fmt.Sprintf("a kernel of ours that runs here (binproxy uml kernel build): %v", err))
	return nil
}

// each runs a test for every kernel and user in the long run; in the short run, for the packaged
// kernel and an ordinary user.
func each(t *testing.T, test func(t *testing.T, c *testCase)) {
	uids := users()
	if testing.Short() {
		uids = uids[len(uids)-1:]
	}
	cases(t, uids, test)
}

// eachUser uses every user in the short run, too, since a guest is bounded differently as root.
func eachUser(t *testing.T, test func(t *testing.T, c *testCase)) { cases(t, users(), test) }

func cases(t *testing.T, uids []int, test func(t *testing.T, c *testCase)) {
	t.Parallel()
	for _, name := range names() {
		for _, uid := range uids {
			t.Run(fmt.Sprintf("%s/%d", name, uid), func(t *testing.T) {
				t.Parallel()
				test(t, newCase(t, name, uid))
			})
		}
	}
}

// names are the kernels of this run.
func names() []string {
	if testing.Short() {
		return []string{packaged()}
	}
	return []string{ours, packaged()}
}

func users() []int {
	if os.Geteuid() == 0 {
		return []int{0, ordinary}
	}
	return []int{os.Geteuid()}
}

// one is the case of the first kernel and the least privileged user.
func one(t *testing.T) *testCase {
	t.Helper()
	t.Parallel()
	return newCase(t, names()[0], users()[len(users())-1])
}

func newCase(t *testing.T, name string, uid int) *testCase {
	t.Helper()
	prepare(t)
	c := &testCase{name: name, kernel: kernel(t, name), uid: uid}
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

// command is binproxy uml run with the case's kernel, on the busybox root unless args say
// otherwise.
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

// result is the result of a run.
type result struct {
	status         int
	stdout, stderr string
}

// run runs it with a standard input.
func (c *testCase) run(t *testing.T, stdin io.Reader, args ...string) result {
	t.Helper()
	return finish(t, c.command(args...), stdin)
}

// sh runs a shell script in the guest, which has to end with 0.
func (c *testCase) sh(t *testing.T, script string, args ...string) string {
	t.Helper()
	r := c.run(t, nil, append(args, "--", "sh", "-c", script)...)
	require.Equal(t, 0, r.status, "%s\n%s", r.stdout, r.stderr)
	return r.stdout
}

func lines(s string) []string { return strings.Split(strings.TrimSpace(s), "\n") }

func itoa(n int) string { return strconv.Itoa(n) }
