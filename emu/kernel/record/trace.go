// Package record finds out which system calls a command uses.
//
// The command runs under a tracer (PTRACE_SYSCALL), which stops it and all its children at each
// call's entry and exit and records numbers and errnos. Every call of every ABI counts, whatever
// made it. To find out which calls the command needs, it runs again with one call denied by a
// seccomp filter, once with ENOSYS and once with EPERM (retry.go).
package record

import (
	"errors"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"binproxy/emu/sys"
)

// Key is a call as the kernel sees it: Nr has bit 30 set for x32.
type Key struct {
	Audit uint32
	Nr    uint32
}

// Use is how often a call was made, and how often it answered ENOSYS.
type Use struct {
	Count, Absent int
}

// Trace runs a command with our standard streams until it and all that it started have ended.
// Status is how the command itself ended.
func Trace(path string, argv, env []string) (uses map[Key]*Use, status unix.WaitStatus, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const options = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK | unix.PTRACE_O_TRACEEXEC | unix.PTRACE_O_EXITKILL
	if err := sys.TraceQuietly(); err != nil {
		return nil, 0, err
	}
	attr := &syscall.ProcAttr{Env: env, Files: []uintptr{0, 1, 2}}
	root, err := sys.StartSeized(path, argv, attr, options)
	if err != nil {
		return nil, 0, err
	}
	// The terminal's signals also go to the command, which decides.
	signal.Ignore(os.Interrupt, syscall.SIGQUIT)
	defer signal.Reset(os.Interrupt, syscall.SIGQUIT)
	t := tracer{uses: map[Key]*Use{}, in: map[int]*Use{}}
	for {
		stop, err := sys.Wait(-1)
		switch {
		case errors.Is(err, unix.ECHILD):
			return t.uses, status, nil
		case err != nil:
			return t.uses, status, err
		case !stop.Status.Stopped():
			delete(t.in, stop.TID)
			if stop.TID == root {
				status = stop.Status
			}
			continue
		}
		if err := t.stopped(stop); err != nil && !sys.Gone(err) {
			return t.uses, status, err
		}
	}
}

type tracer struct {
	uses map[Key]*Use
	in   map[int]*Use // the call that a thread is in
}

// stopped handles one stop and lets the tracee go on. A tracee may be killed at any time, so a
// missing one is not an error.
func (t *tracer) stopped(s sys.Stop) error {
	signal := s.Status.StopSignal()
	switch {
	case s.IsSyscall():
		if err := t.note(s.TID); err != nil {
			return err
		}
		signal = 0
	case s.Event() == unix.PTRACE_EVENT_STOP && isStop(signal):
		return sys.Listen(s.TID)
	case s.Event() != 0:
		signal = 0
	}
	return sys.ContinueToSyscall(s.TID, signal)
}

func isStop(s syscall.Signal) bool {
	return s == unix.SIGSTOP || s == unix.SIGTSTP || s == unix.SIGTTIN || s == unix.SIGTTOU
}

func (t *tracer) note(pid int) error {
	stop, err := sys.GetSyscallStop(pid)
	if err != nil {
		return err
	}
	switch stop.Op {
	case sys.SyscallEntry:
		key := Key{stop.Arch, uint32(stop.Nr)}
		use := t.uses[key]
		if use == nil {
			use = new(Use)
			t.uses[key] = use
		}
		use.Count++
		t.in[pid] = use
	case sys.SyscallExit:
		if use := t.in[pid]; use != nil && stop.Result == -int64(unix.ENOSYS) {
			use.Absent++
		}
		delete(t.in, pid)
	}
	return nil
}
