package supervise

import (
	"time"

	"golang.org/x/sys/unix"

	"binproxy/emu/observe"
	"binproxy/emu/sys"
)

// tracee is one thread that is traced.
type tracee struct {
	tid   int
	guest *guest   // what it runs; nil for a native program
	exec  *pending // an exec on its way

	answer  *answer  // a uname on its way
	decided *decided // an open on its way

	announced bool // its parent's stop has told of it
	lender    int  // the process whose memory it shares until it execs: a vfork's parent; 0 for none
	inherits  bool // what it runs is its parent's program, not known yet

	path  string // for an observer: what its exec names
	group int    // for an observer: whose thread it is; 0 for one that leads its group

	stopped   bool // it was sent SIGSTOP in the middle of a change
	interrupt bool // it was to take part in a group-stop then

	waited waited // the call that signals which it ignores interrupt
}

// loop serves the tracees until the first child is gone, and gives its end.
func (s *supervisor) loop() (unix.WaitStatus, error) {
	for {
		stop, err := s.next()
		if err != nil {
			return 0, err
		}
		if !stop.Status.Stopped() {
			s.ended(stop)
			s.died(stop.TID, stop.Status)
			s.gone(stop.TID)
			if stop.TID == s.child {
				return stop.Status, nil
			}
			continue
		}
		t := s.tracees[stop.TID]
		if t == nil {
			t = s.enter(stop.TID)
		}
		err = s.serve(t, stop)
		if err == errInterrupted {
			err = s.restart(t)
		}
		if err != nil && !sys.Gone(err) {
			s.debug(t, "%v", err)
			_ = s.through(t)
		}
	}
}

// found is what waiting found.
type found struct {
	sys.Stop
	cpu time.Duration // for an observer: the CPU time of a process that has ended
}

// put keeps a stop for next.
func (s *supervisor) put(stop found) { s.kept = append(s.kept, stop) }

func (s *supervisor) next() (found, error) {
	if len(s.kept) > 0 {
		stop := s.kept[0]
		s.kept = s.kept[1:]
		return stop, nil
	}
	return s.wait()
}

func (s *supervisor) wait() (found, error) {
	if s.config.Observer != nil {
		return s.waitObserved()
	}
	stop, err := sys.Wait(-1)
	return found{stop, observe.Unknown}, err
}

// waitFor waits for one tracee's next stop, and keeps the others' for next. Waiting for that tracee alone could last for ever: a group's
// leader that was killed can be waited for only when all its threads have been.
func (s *supervisor) waitFor(t *tracee) (found, error) {
	for {
		stop, err := s.wait()
		if err != nil || stop.TID == t.tid {
			return stop, err
		}
		s.put(stop)
	}
}

// look is waitFor without waiting: a stop with TID 0 tells that nothing happened yet.
func (s *supervisor) look(t *tracee) (found, error) {
	for {
		stop, err := sys.WaitNow(-1)
		if err != nil || stop.TID == 0 || stop.TID == t.tid {
			return found{stop, observe.Unknown}, err
		}
		s.put(found{stop, observe.Unknown})
	}
}

func (s *supervisor) enter(tid int) *tracee {
	t := &tracee{tid: tid, inherits: true}
	s.tracees[tid] = t
	s.entered(t)
	return t
}

func (s *supervisor) gone(tid int) {
	t := s.tracees[tid]
	if t == nil {
		return
	}
	if !t.announced && tid != s.child {
		s.early[tid] = true
	}
	t.forget()
	delete(s.tracees, tid)
}

func (t *tracee) forget() {
	if t.exec != nil {
		t.exec.guest.drop()
	}
	t.guest.drop()
}

// serve does what a stop asks for, and lets the tracee go on.
func (s *supervisor) serve(t *tracee, stop found) error {
	if stop.IsSyscall() {
		return s.syscallStop(t)
	}
	switch stop.Event() {
	case unix.PTRACE_EVENT_SECCOMP:
		return s.seccompStop(t)
	case unix.PTRACE_EVENT_EXEC:
		return s.execStop(s.leader(t))
	case unix.PTRACE_EVENT_FORK, unix.PTRACE_EVENT_VFORK, unix.PTRACE_EVENT_CLONE:
		return s.cloneStop(t, stop.Event() == unix.PTRACE_EVENT_VFORK)
	case unix.PTRACE_EVENT_STOP:
		return s.groupStop(t, stop.Status.StopSignal())
	}
	if err := s.signalled(t, stop.Status.StopSignal()); err != nil {
		return err
	}
	return s.resume(t, stop.Status.StopSignal())
}

// resume lets the tracee go on as far as its exec asks for.
func (s *supervisor) resume(t *tracee, signal unix.Signal) error {
	if e := t.exec; e != nil && e.phase != ready {
		return sys.ContinueToSyscall(t.tid, signal)
	}
	return sys.Continue(t.tid, signal)
}

// leader is the tracee that has become of the one that called execve: where that was not the thread group's leader, it has taken the leader's id.
func (s *supervisor) leader(t *tracee) *tracee {
	former, err := sys.EventMessage(t.tid)
	if err != nil || int(former) == t.tid {
		return t
	}
	caller := s.tracees[int(former)]
	if caller == nil {
		return t
	}
	delete(s.tracees, caller.tid)
	t.forget()
	caller.tid, caller.group = t.tid, 0
	s.tracees[t.tid] = caller
	return caller
}

// cloneStop is a tracee that has a new child or thread, which runs the same program. The child's own first stop may have come before,
// and even its end.
func (s *supervisor) cloneStop(t *tracee, vfork bool) error {
	tid, err := sys.EventMessage(t.tid)
	if err != nil {
		return err
	}
	child := s.tracees[int(tid)]
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
			child.lender = t.tid
		}
	}
	return s.resume(t, 0)
}

// groupStop is a new tracee's first stop, the end of a group-stop (both SIGTRAP), or a group-stop.
func (s *supervisor) groupStop(t *tracee, signal unix.Signal) error {
	switch signal {
	case unix.SIGSTOP, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU:
		err := sys.Listen(t.tid)
		s.stopToo(t, signal)
		return err
	}
	return s.resume(t, 0)
}

// restart takes a tracee that was interrupted back to where its exec begins.
func (s *supervisor) restart(t *tracee) error {
	regs := t.exec.regs
	regs.again(uint64(t.exec.call.nr))
	if err := regs.set(t.tid); err != nil {
		return err
	}
	s.settle(t)
	return sys.Continue(t.tid, 0)
}
