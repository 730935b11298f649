// Command test is `make test` and `make test-all`: it brings what the tests need, runs the
// packages' tests, the fast ones first, and ends with one line that counts them.
//
//	go run ./scripts/test [-short] [ARGUMENT OF GO TEST...]
//
// Without arguments it runs everything. It installs the Debian packages while the tests compile,
// and makes the roots while the fast tests run.
//
// The tests run in a process group of their own, with a TMPDIR of their own. Ctrl-C and SIGTERM go
// to the whole group once. Afterwards it removes all mounts and files under that TMPDIR, so that a
// killed test leaves the machine as it was.
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
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"binproxy/emu/sys"
)

const (
	slowPrefix = "binproxy/test/"
	timeout    = "75m"               // of one test binary; test/builders takes 40
	grace      = 60 * time.Second    // from the signal to the kill
	unused     = 30 * 24 * time.Hour // a fixture without use is removed after it
	makerMode  = "-fixtures"         // the first argument of the process that makes fixtures
)

// A runner is one call of this command.
type runner struct {
	report *report
	short  bool
	tmp    string // TMPDIR of the tests
	env    []string
	maker  int // the process that makes fixtures; 0 for none
}

func main() {
	// Not by package flag, since the rest are go test's own.
	args := os.Args[1:]
	fixtures := len(args) > 0 && args[0] == makerMode
	if fixtures {
		args = args[1:]
	}
	short := len(args) > 0 && args[0] == "-short"
	if short {
		args = args[1:]
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if fixtures {
		makeFixtures(ctx, args[0], short)
		return
	}
	r := &runner{report: newReport(os.Stdout), short: short}
	// Processes that the tests leave behind become our children, so that we can wait for them.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		r.report.fail(err.Error())
	}
	if err := r.all(ctx, args); err != nil {
		r.report.fail(err.Error())
	}
	failed := r.report.close()
	stop()
	if failed > 0 {
		os.Exit(1)
	}
}

// all runs everything, or what args (arguments of go test) select.
func (r *runner) all(ctx context.Context, args []string) error {
	var err error
	if r.tmp, err = os.MkdirTemp("", "binproxy-test-"); err != nil {
		return err
	}
	// Some tests become an ordinary user, who has to reach it.
	if err := os.Chmod(r.tmp, 0o711); err != nil {
		return err
	}
	defer func() {
		if err := remove(r.tmp); err != nil {
			r.report.fail("left behind: " + err.Error())
		}
	}()
	// Without cgo, so that a C compiler makes no difference.
	r.env = append(os.Environ(), "TMPDIR="+r.tmp, "CGO_ENABLED=0")
	if len(args) > 0 {
		return r.goTest(ctx, args)
	}
	fast, slow, err := packages()
	if err != nil {
		return err
	}
	r.removeUnused()
	if err := r.prepare(ctx); err != nil {
		return err
	}
	stop, err := r.startMaker(ctx)
	if err != nil {
		return err
	}
	defer func() {
		stop()
		if left := r.awaitChildren(); left != nil {
			r.report.fail(left.Error())
		}
	}()
	r.report.title("packages")
	// Several of them mostly wait.
	if err := r.goTest(ctx, append([]string{"-p=4"}, fast...)); err != nil {
		return err
	}
	r.report.title("the whole program")
	return r.goTest(ctx, append([]string{"-count=1"}, slow...))
}

// packages lists the module's packages: those of the code, and those under test/ that need the
// whole program.
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

// goTest runs go test and reports its events. The error is the run's, not a test's.
func (r *runner) goTest(ctx context.Context, args []string) error {
	flags := []string{"test", "-json", "-vet=off", "-timeout", timeout, "-short=" + strconv.FormatBool(r.short)}
	cmd := exec.CommandContext(ctx, "go", append(flags, args...)...)
	cmd.Env = r.env
	cmd.Stderr = os.Stderr
	endGroup(cmd, syscall.SIGTERM)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	before := r.report.failed
	r.report.read(out)
	err = cmd.Wait()
	if left := r.awaitChildren(); left != nil {
		r.report.fail(left.Error())
	}
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	if err != nil && r.report.failed == before {
		return fmt.Errorf("go test: %w, and no test failed", err)
	}
	return nil
}

// awaitChildren waits for the processes that go test has left, which are ours then: tests that are
// ending, engines that are stopped. It kills those that run longer than the grace, which is an
// error.
func (r *runner) awaitChildren() error {
	left := r.children()
	for end := time.Now().Add(grace); len(left) > 0 && time.Now().Before(end); left = r.children() {
		for _, pid := range left {
			_, _, _ = sys.WaitChild(pid, unix.WNOHANG)
		}
		time.Sleep(20 * time.Millisecond)
	}
	if len(left) == 0 {
		return nil
	}
	var names []string
	for _, pid := range left {
		cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		names = append(names, strings.ReplaceAll(string(cmdline), "\x00", " "))
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	return fmt.Errorf("left running, and killed: %s", strings.Join(names, "; "))
}

// children lists our children, without the maker of fixtures.
func (r *runner) children() []int {
	var found []int
	lists, _ := filepath.Glob("/proc/self/task/*/children")
	for _, list := range lists {
		text, _ := os.ReadFile(list)
		for _, child := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(child); err == nil && pid != r.maker {
				found = append(found, pid)
			}
		}
	}
	return found
}

// remove unmounts everything under the directory, and then deletes it.
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
		if err := sys.Detach(mount); err != nil {
			return err
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

// events decodes a stream of events. Other lines (go's own complaints) become output of no
// package.
func events(r io.Reader, each func(event)) {
	for line := range lines(r) {
		var e event
		if json.Unmarshal([]byte(line), &e) != nil || e.Action == "" {
			e = event{Action: "output", Output: line + "\n"}
		}
		each(e)
	}
}
