package sys

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// Stop is waitpid's report on one thread.
type Stop struct {
	TID    int
	Status unix.WaitStatus
}

// Wait waits for any child or tracee (tid -1), or for one thread, of every kind (__WALL). The
// error is ECHILD if there is none.
//
// After TraceQuietly, Wait does not at first report itself to the Go runtime: doing so at every
// stop of every tracee costs more than the stop. If the runtime wants the thread back, after 10 ms
// or for a garbage collection, its signal ends the wait, which then starts again in the runtime's
// way.
func Wait(tid int) (Stop, error) {
	s, err := waitUnheard(tid)
	if err == unix.EINTR {
		return wait(tid, unix.WALL)
	}
	return s, err
}

// WaitNow is Wait without waiting: a Stop with TID 0 means that nothing has happened yet.
func WaitNow(tid int) (Stop, error) { return wait(tid, unix.WALL|unix.WNOHANG) }

func wait(tid, options int) (s Stop, err error) {
	err = Retry(func() error {
		s.TID, err = unix.Wait4(tid, &s.Status, options, nil)
		return err
	})
	return s, err
}

// Event is the PTRACE_EVENT_ of the stop, 0 if it is none.
func (s Stop) Event() int { return int(uint32(s.Status)>>16) & 0xff }

// IsSyscall reports whether it is a syscall-stop, given that PTRACE_O_TRACESYSGOOD is set.
func (s Stop) IsSyscall() bool {
	return s.Status.Stopped() && s.Status.StopSignal() == unix.SIGTRAP|0x80
}

// Seize attaches to a thread without stopping it.
func Seize(tid, options int) error { return ptrace(unix.PTRACE_SEIZE, tid, 0, uintptr(options)) }

// StartSeized starts a program that the calling thread traces from its first instruction on. The
// program is seized, so that job control stops are group-stops for it, too. The goroutine must be
// locked to its thread.
func StartSeized(path string, argv []string, attr *syscall.ProcAttr, options int) (pid int, err error) {
	attr.Sys = &syscall.SysProcAttr{Ptrace: true}
	if pid, err = syscall.ForkExec(path, argv, attr); err != nil {
		if why := Untraceable(err); why != err {
			return 0, why
		}
		return 0, fmt.Errorf("exec %s: %w", path, err)
	}
	// It is after its execve, traced as a child that asked for it. To seize it, detach it into a
	// stop first.
	for _, step := range []func() error{
		func() error { return waitFor(pid, 0) },
		func() error { return ptrace(unix.PTRACE_DETACH, pid, 0, uintptr(unix.SIGSTOP)) },
		func() error { return waitFor(pid, unix.WUNTRACED) },
		func() error { return Seize(pid, options) },
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
	_, err := wait(pid, options)
	return err
}

// Continue lets a stopped tracee run, with the signal delivered to it (0 for none).
func Continue(tid int, signal unix.Signal) error {
	return ptrace(unix.PTRACE_CONT, tid, 0, uintptr(signal))
}

// ContinueToSyscall is Continue up to the next syscall-stop.
func ContinueToSyscall(tid int, signal unix.Signal) error {
	return ptrace(unix.PTRACE_SYSCALL, tid, 0, uintptr(signal))
}

// Listen leaves a tracee in its group-stop, which SIGCONT can then end.
func Listen(tid int) error { return ptrace(unix.PTRACE_LISTEN, tid, 0, 0) }

// Unseize lets a stopped tracee go on without a tracer.
func Unseize(tid int) error { return ptrace(unix.PTRACE_DETACH, tid, 0, 0) }

// Interrupt stops a running tracee.
func Interrupt(tid int) error { return ptrace(unix.PTRACE_INTERRUPT, tid, 0, 0) }

// EventMessage is the kernel's value for the tracee's last event: a new thread's id, a seccomp
// filter's data.
func EventMessage(tid int) (uint, error) { return unix.PtraceGetEventMsg(tid) }

// Gone reports whether a ptrace call failed because the tracee is gone: it may be killed at any
// time.
func Gone(err error) bool { return errors.Is(err, unix.ESRCH) }
