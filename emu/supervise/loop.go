package supervise

import (
	"golang.org/x/sys/unix"

	"binproxy/emu/supervise/tracee"
)

// loop serves the tracees until the first child is gone, and gives its end.
func (s *supervisor) loop() (unix.WaitStatus, error) {
	for {
		stop, err := s.tracer.Next()
		if err != nil {
			return 0, err
		}
		if stop.Kind == tracee.Ended {
			s.ended(stop)
			s.died(stop.TID, stop.Status)
			s.gone(stop.TID)
			if stop.TID == s.child {
				return stop.Status, nil
			}
			continue
		}
		t := s.tasks[stop.TID]
		if t == nil {
			t = s.enter(stop.TID)
		}
		err = s.serve(t, stop)
		if err == tracee.ErrInterrupted {
			err = s.restart(t)
		}
		if err != nil && !tracee.Gone(err) {
			s.debug(t, "%v", err)
			_ = s.through(t)
		}
	}
}

// enter takes a new tracee in.
func (s *supervisor) enter(tid int) *task {
	t := &task{thread: s.tracer.Thread(tid), inherits: true}
	s.tasks[tid] = t
	s.entered(t)
	return t
}

func (s *supervisor) gone(tid int) {
	t := s.tasks[tid]
	if t == nil {
		return
	}
	if !t.announced && tid != s.child {
		s.early[tid] = true
	}
	t.forget()
	delete(s.tasks, tid)
}

// serve does what a stop asks for, and lets the tracee go on.
func (s *supervisor) serve(t *task, stop tracee.Stop) error {
	switch stop.Kind {
	case tracee.Syscall:
		return s.syscallStop(t)
	case tracee.Seccomp:
		return s.seccompStop(t)
	case tracee.Exec:
		return s.execStop(s.leader(t))
	case tracee.Fork, tracee.Vfork:
		return s.cloneStop(t, stop.Kind == tracee.Vfork)
	case tracee.Group:
		return s.groupStop(t, stop.Signal)
	}
	if err := s.signalled(t, stop.Signal); err != nil {
		return err
	}
	return s.resume(t, stop.Signal)
}

// resume lets the tracee go on as far as its exec asks for.
func (s *supervisor) resume(t *task, signal unix.Signal) error {
	if e := t.exec; e != nil && e.phase != ready {
		return t.ToSyscall(signal)
	}
	return t.Continue(signal)
}

// leader is the tracee that has become of the one that called execve: where that was not the thread group's
// leader, it has taken the leader's id.
func (s *supervisor) leader(t *task) *task {
	former, err := t.Message()
	if err != nil || int(former) == t.TID() {
		return t
	}
	caller := s.tasks[int(former)]
	if caller == nil {
		return t
	}
	delete(s.tasks, caller.TID())
	t.forget()
	caller.Become(t.TID())
	caller.group = 0
	s.tasks[t.TID()] = caller
	return caller
}

// cloneStop is a tracee that has a new child or thread, which runs the same program. The child's own first stop
// may have come before, and even its end.
func (s *supervisor) cloneStop(t *task, vfork bool) error {
	tid, err := t.Message()
	if err != nil {
		return err
	}
	child := s.tasks[int(tid)]
	gone := child == nil && s.early[int(tid)]
	delete(s.early, int(tid))
	if gone {
		return s.resume(t, 0)
	}
	if child == nil {
		child = s.enter(int(tid))
	}
	child.announced = true
	if child.inherits {
		child.inherits = false
		child.guest = t.guest.share()
		if vfork {
			child.lender = t.TID()
		}
	}
	return s.resume(t, 0)
}

// groupStop is a new tracee's first stop, the end of a group-stop (both SIGTRAP), or a group-stop.
func (s *supervisor) groupStop(t *task, signal unix.Signal) error {
	switch signal {
	case unix.SIGSTOP, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU:
		err := t.Listen()
		s.stopToo(t, signal)
		return err
	}
	return s.resume(t, 0)
}
