// Command test is `make test`: it runs the packages' tests, the fast ones first, and ends with one line that counts them.
//
// The tests run in a process group of their own, with a TMPDIR of their own. Ctrl-C and SIGTERM go to the whole group once; whatever is
// mounted or left under that TMPDIR afterwards is taken away, so that a killed test leaves the machine as it was.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	slowPrefix = "binproxy/test/"
	timeout    = "40m"            // of one test binary: test/twins builds three programs by emulation, once
	grace      = 60 * time.Second // from the signal to the kill
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	report := newReport(os.Stdout)
	// Whatever the tests leave running becomes our child, so that it can be waited for.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		report.fail(err.Error())
	}
	err := runAll(ctx, report, os.Args[1:])
	if err != nil {
		report.fail(err.Error())
	}
	failed := report.close()
	stop()
	if failed > 0 {
		os.Exit(1)
	}
}

// runAll runs the two groups, or what args (arguments of go test) ask for.
func runAll(ctx context.Context, report *report, args []string) error {
	tmp, err := os.MkdirTemp("", "binproxy-test-")
	if err != nil {
		return err
	}
	// Some tests become an ordinary user, who has to get there.
	if err := os.Chmod(tmp, 0o711); err != nil {
		return err
	}
	defer func() {
		if err := remove(tmp); err != nil {
			report.fail("left behind: " + err.Error())
		}
	}()
	if len(args) > 0 {
		return goTest(ctx, report, tmp, args)
	}
	fast, slow, err := packages()
	if err != nil {
		return err
	}
	report.title("packages")
	if err := goTest(ctx, report, tmp, fast); err != nil {
		return err
	}
	report.title("the whole program")
	return goTest(ctx, report, tmp, append([]string{"-count=1"}, slow...))
}

// packages lists the module's packages: those of the code, and those under test/ that need the whole program.
func packages() (fast, slow []string, err error) {
	out, err := exec.Command("go", "list", "./...").Output()
	if err != nil {
		return nil, nil, fmt.Errorf("go list: %w", withStderr(err))
	}
	for _, pkg := range strings.Fields(string(out)) {
		if strings.HasPrefix(pkg, slowPrefix) {
			slow = append(slow, pkg)
		} else {
			fast = append(fast, pkg)
		}
	}
	return fast, slow, nil
}

func withStderr(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) && len(exit.Stderr) > 0 {
		return fmt.Errorf("%w\n%s", err, exit.Stderr)
	}
	return err
}

// goTest runs go test and reports its events. The error is one of the run, not of a test.
func goTest(ctx context.Context, report *report, tmp string, args []string) error {
	cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-json", "-vet=off", "-timeout", timeout}, args...)...)
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = grace
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	before := report.failed
	report.read(out)
	err = cmd.Wait()
	if left := awaitChildren(); left != nil {
		report.fail(left.Error())
	}
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	if err != nil && report.failed == before {
		return fmt.Errorf("go test: %w, and no test failed", err)
	}
	return nil
}

// awaitChildren waits for the processes that go test has left, which are ours then: tests that are ending, engines that are stopped. What
// runs on after the grace is killed, and an error.
func awaitChildren() error {
	for end := time.Now().Add(grace); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if _, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); errors.Is(err, unix.ECHILD) {
			return nil
		}
	}
	var left []string
	children, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", os.Getpid()))
	if err != nil {
		return err
	}
	for _, child := range strings.Fields(string(children)) {
		pid, _ := strconv.Atoi(child)
		cmdline, _ := os.ReadFile("/proc/" + child + "/cmdline")
		left = append(left, strings.ReplaceAll(string(cmdline), "\x00", " "))
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	return fmt.Errorf("left running, and killed: %s", strings.Join(left, "; "))
}

// remove deletes the directory, after it has unmounted whatever is mounted under it.
func remove(dir string) error {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	var left []string
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 1 && strings.HasPrefix(f[1], dir+"/") {
			left = append(left, f[1])
		}
	}
	slices.Reverse(left)
	for _, mount := range left {
		if err := syscall.Unmount(mount, syscall.MNT_DETACH); err != nil {
			return &os.PathError{Op: "unmount", Path: mount, Err: err}
		}
	}
	return os.RemoveAll(dir)
}

// event is one line of go test -json (see `go doc test2json`).
type event struct {
	Action      string
	Package     string
	ImportPath  string
	Test        string
	Output      string
	Elapsed     float64
	FailedBuild string
}

// events decodes a stream of events; what is no event (go's own complaints) is handed on as output of no package.
func events(r io.Reader, each func(event)) {
	for line := range lines(r) {
		var e event
		if json.Unmarshal([]byte(line), &e) != nil || e.Action == "" {
			e = event{Action: "output", Output: line + "\n"}
		}
		each(e)
	}
}
