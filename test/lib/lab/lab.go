// Package lab brings what tests and the demonstration need from outside: foreign roots, a Docker
// engine, image builders, and the program itself, freshly built.
//
// A cache folder keeps what is slow to make. Whatever a process starts ends with that process,
// however the process ends. Functions that take a testing.TB skip or fail the test; those that
// take a context are for programs and return errors. Lines of progress begin with "lab: ", on
// stderr.
package lab

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"testing"
)

// Main is the TestMain of a package that uses Engine or Buildah: it ends what these keep for all
// tests of the package, even if the tests are interrupted.
func Main(m *testing.M) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		s := <-signals
		closeAll()
		fmt.Fprintln(os.Stderr, "lab: ended by", s)
		os.Exit(1)
	}()
	status := m.Run()
	closeAll()
	os.Exit(status)
}

var shared struct {
	sync.Mutex
	closers []func()
}

func atEnd(f func()) {
	shared.Lock()
	defer shared.Unlock()
	shared.closers = append(shared.closers, f)
}

// Shared is a directory that the tests of a package share. It is removed after the last of them.
func Shared(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "binproxy-test-")
	if err != nil {
		t.Fatal(err)
	}
	atEnd(func() { os.RemoveAll(dir) })
	return dir
}

func closeAll() {
	shared.Lock()
	defer shared.Unlock()
	for len(shared.closers) > 0 {
		last := len(shared.closers) - 1
		f := shared.closers[last]
		shared.closers = shared.closers[:last]
		f()
	}
}

// run runs the command; the error contains the output on both streams.
func run(cmd *exec.Cmd) error {
	_, err := output(cmd)
	return err
}

// output runs the command and gives its stdout; the error contains both streams.
func output(cmd *exec.Cmd) (string, error) {
	var out, both bytes.Buffer
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&out, &both), &both
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s: %w\n%s", cmd, err, tail(both.String(), 40))
	}
	return out.String(), nil
}

// tail is the last n lines of text.
func tail(text string, n int) string {
	lines := bytes.SplitAfter([]byte(text), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-n-1):], nil))
}
