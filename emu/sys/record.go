package sys

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// TraceRequest makes a request that takes no pointer.
func TraceRequest(request, pid int, data uintptr) error {
	_, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, uintptr(request), uintptr(pid), 0, data, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// StartSeized starts a program that the calling thread traces from its first instruction on, seized (so that a stop by job control is one
// for it too). The goroutine must be locked to its thread.
func StartSeized(path string, argv []string, attr *syscall.ProcAttr, options uintptr) (pid int, err error) {
	attr.Sys = &syscall.SysProcAttr{Ptrace: true}
	if pid, err = syscall.ForkExec(path, argv, attr); err != nil {
		return 0, fmt.Errorf("exec %s: %w", path, err)
	}
	// It stands behind its execve, traced as a child that asked for it. To seize it, let it go into a stop first.
	for _, step := range []func() error{
		func() error { return waitFor(pid, 0) },
		func() error { return TraceRequest(unix.PTRACE_DETACH, pid, uintptr(unix.SIGSTOP)) },
		func() error { return waitFor(pid, unix.WUNTRACED) },
		func() error { return TraceRequest(unix.PTRACE_SEIZE, pid, options) },
		func() error { return unix.Kill(pid, unix.SIGCONT) },
	} {
		if err := step(); err != nil {
			unix.Kill(pid, unix.SIGKILL)
			waitFor(pid, 0)
			return 0, fmt.Errorf("trace process %d: %w", pid, err)
		}
	}
	return pid, nil
}

func waitFor(pid, options int) error {
	return retry(func() error { _, err := unix.Wait4(pid, nil, options, nil); return err })
}

// WaitAny waits for a child or tracee of any kind to change its state; ECHILD where none is left.
func WaitAny() (pid int, status unix.WaitStatus, err error) {
	err = retry(func() error {
		pid, err = unix.Wait4(-1, &status, unix.WALL, nil)
		return err
	})
	return pid, status, err
}
