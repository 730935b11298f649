package sys

import (
	"fmt"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// RestoreNofile gives the process back the limit of open files that it was started with. The Go runtime raises the soft limit at
// start-up and takes that back when it executes a program, but with prlimit64 alone: under a filter that denies prlimit64 (Linux
// before 2.6.36 has none) the program would keep the raised one. The original value is kept in the runtime, out of reach; a child,
// stopped before its first instruction, has it.
func RestoreNofile() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	pid, err := syscall.ForkExec("/proc/self/exe", []string{"binproxy"}, &syscall.ProcAttr{Sys: &syscall.SysProcAttr{Ptrace: true}})
	if err != nil {
		return fmt.Errorf("restore the limit of open files: start /proc/self/exe: %w", err)
	}
	var limit unix.Rlimit
	err = retry(func() error { _, err := unix.Wait4(pid, nil, 0, nil); return err })
	if err == nil {
		err = unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &limit)
	}
	unix.Kill(pid, unix.SIGKILL)
	retry(func() error { _, err := unix.Wait4(pid, nil, 0, nil); return err })
	if err == nil {
		err = syscall.Setrlimit(unix.RLIMIT_NOFILE, &syscall.Rlimit{Cur: limit.Cur, Max: limit.Max})
	}
	if err != nil {
		return fmt.Errorf("restore the limit of open files: %w", err)
	}
	return nil
}
