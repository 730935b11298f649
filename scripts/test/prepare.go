package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"binproxy/test/lib/built"
	"binproxy/test/lib/fixture"
	"binproxy/test/lib/lab"
)

// prepare installs the Debian packages that tests need, and meanwhile builds the program and
// compiles the tests. A package that cannot be had is no failure: the tests that need it report
// it.
func (r *runner) prepare(ctx context.Context) error {
	r.report.title("what the tests need")
	program := filepath.Join(r.tmp, "binproxy")
	r.env = append(r.env, built.Environment+"="+program)
	var wait sync.WaitGroup
	var compiled error
	wait.Go(func() {
		compiled = r.timed(ctx, "compile", nil, "scripts/build", program)
		if compiled == nil {
			// go test links the export data of all packages and their tests.
			compiled = r.timed(ctx, "compile the tests", nil, "go", "list", "-export", "-test", "-deps", "./...")
		}
	})
	// It reports its own errors.
	_ = r.timed(ctx, "packages", os.Stderr, "go", "run", "./scripts/packages", "scripts/packages-test")
	wait.Wait()
	if ctx.Err() != nil {
		_ = r.awaitChildren() // apt-get lets dpkg finish
		return errors.New("interrupted")
	}
	return compiled
}

// timed runs a command and prints how long it took. Its output goes to w, or into the error.
func (r *runner) timed(ctx context.Context, what string, w io.Writer, argv ...string) error {
	began := time.Now()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = r.env
	endGroup(cmd, syscall.SIGINT)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = nil, &said
	if w != nil {
		cmd.Stdout, cmd.Stderr = w, w
	}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w\n%s", what, err, &said)
	}
	r.report.made(what, time.Since(began))
	return nil
}

// endGroup gives a command a process group of its own. All of the group gets the signal when the
// context ends.
func endGroup(cmd *exec.Cmd, signal syscall.Signal) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, signal) }
	cmd.WaitDelay = grace
}

// removeUnused removes the fixtures that no run has used for a month. It reports a fixture that it
// cannot remove, but that does not stop the tests.
func (r *runner) removeUnused() {
	removed, err := fixture.RemoveUnused(unused)
	for _, name := range removed {
		r.report.say("removed, not used for 30 days: " + name)
	}
	if err != nil {
		r.report.say("not removed: " + err.Error())
	}
}

// startMaker starts another process that makes the fixtures while tests run; a test that needs a
// missing one waits for it. stop ends the process.
func (r *runner) startMaker(ctx context.Context) (stop func(), err error) {
	args := []string{makerMode}
	if r.short {
		args = append(args, "-short")
	}
	ctx, cancel := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, "/proc/self/exe", append(args, filepath.Join(r.tmp, "binproxy"))...)
	cmd.Env = r.env
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	endGroup(cmd, syscall.SIGTERM)
	cmd.SysProcAttr.Pdeathsig = syscall.SIGTERM
	if err := cmd.Start(); err != nil {
		cancel()
		return nil, err
	}
	r.maker = cmd.Process.Pid
	return func() {
		cancel()
		_ = cmd.Wait()
		r.maker = 0
	}, nil
}

// makeFixtures makes what takes time, the most wanted first. What fails here fails again, with the
// reason, in the tests that need it.
func makeFixtures(ctx context.Context, program string, short bool) {
	for _, f := range lab.Fixtures(short) {
		if ctx.Err() != nil {
			return
		}
		began := time.Now()
		if _, err := f.Get(ctx); err == nil && time.Since(began) > time.Second {
			fmt.Printf("made  %s (%.0f s)\n", f.What, time.Since(began).Seconds())
		}
	}
	if !short {
		// It uses as many compilers as there are processors, at a lower priority than the tests.
		cmd := exec.CommandContext(ctx, "nice", "-n", "10", program, "uml", "kernel", "build")
		cmd.Stderr = io.Discard
		// It ends its compilers.
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
		cmd.WaitDelay = grace / 2
		_ = cmd.Run()
	}
}
