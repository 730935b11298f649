package supervise

import (
	"errors"

	"golang.org/x/sys/unix"

	"binproxy/emu/sys"
)

// where a tracee stands in its call: about to start it, in a seccomp-stop, or at its end, in a syscall-exit-stop.
type where int

const (
	entering where = iota
	leaving
)

// errInterrupted tells that a tracee was taken out of a call by what cannot be blocked (SIGSTOP). Its exec has to begin anew.
var errInterrupted = errors.New("interrupted")

// help makes the tracee call for help: it then waits for the listener.
func (s *supervisor) help(t *tracee, e *pending, from where) error {
	regs := e.regs
	*regs.arg(e.call, helpArg) = e.call.help(s.cookie)
	if from == leaving {
		regs.again(e.call.numbers.execve)
		if err := regs.set(t.tid); err != nil {
			return err
		}
		if err := s.toSyscallStop(t); err != nil {
			return err
		}
	} else {
		if err := regs.replace(t.tid, e.call.numbers.execve); err != nil {
			return err
		}
		if err := regs.set(t.tid); err != nil {
			return err
		}
	}
	return sys.ContinueToSyscall(t.tid, 0)
}

// give puts the emulator's descriptor, and before it that of the guest's file if the emulator cannot open it, into the tracee, by the
// listener of its filter (SECCOMP_IOCTL_NOTIF_ADDFD). The tracee ends in a syscall-exit-stop.
func (s *supervisor) give(t *tracee, e *pending, from where) error {
	listener, err := s.listener()
	if err != nil {
		return err
	}
	if err := s.help(t, e, from); err != nil {
		return err
	}
	id, err := s.notification(listener, t)
	if err != nil {
		return err
	}
	errno := s.add(listener, id, e)
	if err := sys.AnswerNotification(listener, id, 0, errno); err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	if err := s.syscallStopOf(t); err != nil {
		return err
	}
	if errno != 0 {
		return &handError{errno}
	}
	return nil
}

// handError is the errno with which the descriptors could not be handed over (EMFILE); the exec fails with it.
type handError struct{ errno unix.Errno }

func (e *handError) Error() string { return "hand over the emulator: " + e.errno.Error() }

func (s *supervisor) add(listener int, id uint64, e *pending) unix.Errno {
	if e.handsFile() {
		// An open file of its own: the emulator reads it from the start.
		file, err := sys.Reopen(s.self, e.guest.fd, unix.O_RDONLY)
		if err != nil {
			return sys.Errno(err)
		}
		defer unix.Close(file)
		fd, err := sys.GiveDescriptor(listener, id, file, false)
		if err != nil {
			return sys.Errno(err)
		}
		e.fds = append(e.fds, fd)
	}
	fd, err := sys.GiveDescriptor(listener, id, e.via.fd, true)
	if err != nil {
		return sys.Errno(err)
	}
	e.fds = append(e.fds, fd)
	return 0
}

// notification waits for the tracee's call for help. Should the tracee be killed before it gets there, waitpid tells.
func (s *supervisor) notification(listener int, t *tracee) (uint64, error) {
	const patience = 5 // milliseconds
	for {
		fds := []unix.PollFd{{Fd: int32(listener), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, patience)
		if err != nil && err != unix.EINTR {
			return 0, err
		}
		if n > 0 {
			call, err := sys.ReceiveNotification(listener)
			switch {
			case err == unix.ENOENT: // it was killed just now
			case err != nil:
				return 0, err
			case call.TID == t.tid:
				return call.ID, nil
			default:
				// Somebody else's, who made the cookie up.
				_ = sys.AnswerNotification(listener, call.ID, 0, unix.ENOSYS)
			}
			continue
		}
		stop, err := s.look(t)
		switch {
		case err != nil:
			return 0, err
		case stop.TID == 0:
		case stop.IsSyscall():
			return 0, errInterrupted
		default:
			if err := s.meanwhile(t, stop); err != nil {
				return 0, err
			}
		}
	}
}

// call makes a tracee that is in a syscall-exit-stop make another call, at the call instruction at ip, and gives the result. The tracee's
// registers are the caller's business afterwards.
func (s *supervisor) callAt(t *tracee, regs registers, c *execCall, ip, nr uint64, args ...uint64) (int64, error) {
	for i, v := range args {
		*regs.arg(c, i) = v
	}
	regs.callAt(ip, nr)
	if err := regs.set(t.tid); err != nil {
		return 0, err
	}
	for range 2 {
		if err := s.toSyscallStop(t); err != nil {
			return 0, err
		}
	}
	if err := regs.get(t.tid); err != nil {
		return 0, err
	}
	return regs.result(), nil
}

// toSyscallStop lets the tracee run to its next syscall-stop.
func (s *supervisor) toSyscallStop(t *tracee) error {
	if err := sys.ContinueToSyscall(t.tid, 0); err != nil {
		return err
	}
	return s.syscallStopOf(t)
}

// syscallStopOf waits for the syscall-stop that the tracee is on the way to. Calls that are waited for like this do not block.
func (s *supervisor) syscallStopOf(t *tracee) error {
	for {
		stop, err := s.waitFor(t)
		if err != nil {
			return err
		}
		if stop.IsSyscall() {
			return nil
		}
		if err := s.meanwhile(t, stop); err != nil {
			return err
		}
	}
}

// meanwhile takes note of a stop in the middle of a change. Signals are blocked then: what comes is death, which is left for the loop,
// and SIGSTOP or the group-stop that another thread took part in, which is made up for in settle.
func (s *supervisor) meanwhile(t *tracee, stop found) error {
	if !stop.Status.Stopped() {
		s.put(stop)
		return unix.ESRCH
	}
	if stop.Event() == unix.PTRACE_EVENT_STOP {
		t.interrupt = true
	} else {
		t.stopped = true
	}
	return sys.ContinueToSyscall(t.tid, 0)
}

// allow makes a tracee dumpable in place of the call that it is about to make, and takes it back to make that anew. A process that changed
// its ids is not dumpable: its tracer, without CAP_SYS_PTRACE, is then refused its memory and its files in /proc.
func (s *supervisor) allow(t *tracee, e *pending) error {
	if err := s.block(t, e); err != nil {
		return err
	}
	regs := e.regs
	*regs.arg(e.call, 0), *regs.arg(e.call, 1) = unix.PR_SET_DUMPABLE, 1
	if err := regs.replace(t.tid, e.call.numbers.prctl); err != nil {
		return err
	}
	if err := regs.set(t.tid); err != nil {
		return err
	}
	if err := s.toSyscallStop(t); err != nil {
		return err
	}
	regs = e.regs
	regs.again(uint64(e.call.nr))
	if err := regs.set(t.tid); err != nil {
		return err
	}
	t.exec, e.phase, e.dumpable = e, anew, true
	return sys.Continue(t.tid, 0)
}

// failed is an exec that the kernel refused: the emulator's, for want of memory or for too long a list of arguments, or one that was only
// looked at. The tracee gets everything back as it was, and the errno.
func (s *supervisor) failed(t *tracee, e *pending, result int64) error {
	s.giveBack(e, t.tid)
	var regs registers
	if err := regs.get(t.tid); err != nil {
		return err
	}
	again := regs
	again.again(0)
	if err := s.takeBack(t, e, regs); err != nil {
		return err
	}
	if e.dumpable {
		if _, err := s.callAt(t, regs, e.call, again.ip(), e.call.numbers.prctl, unix.PR_SET_DUMPABLE, 0); err != nil {
			return err
		}
	}
	back := e.regs
	back.setResult(result)
	back.finished()
	if err := back.set(t.tid); err != nil {
		return err
	}
	return s.through(t)
}

// takeBack closes the descriptors that a tracee was given.
func (s *supervisor) takeBack(t *tracee, e *pending, regs registers) error {
	again := regs
	again.again(0)
	for _, fd := range e.fds {
		if _, err := s.callAt(t, regs, e.call, again.ip(), e.call.numbers.close, uint64(fd)); err != nil {
			return err
		}
	}
	e.fds = nil
	return nil
}

// rename gives the new process the name that the kernel would have given it: /proc/PID/comm has that of the emulator's descriptor. regs are
// those that the process is to start with.
func (s *supervisor) rename(t *tracee, e *pending, regs registers, name uint64) error {
	_, err := s.callAt(t, regs, &execCalls[0], regs.ip()+e.via.call, numbers64.prctl, unix.PR_SET_NAME, name)
	return err
}
