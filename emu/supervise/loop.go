package supervise

import (
	"errors"

	"golang.org/x/sys/unix"

	"binproxy/emu/supervise/tracee"
	"binproxy/emu/sys"
)

// loop serves the tracees until the first child has ended, and returns its end. If the command has
// kept its process, loop serves its descendants until they end, too.
func (s *supervisor) loop() (first unix.WaitStatus, err error) {
	for {
		stop, err := s.next()
		if errors.Is(err, unix.ECHILD) && s.config.Pair != nil {
			return first, nil
		}
		if err != nil {
			return 0, err
		}
		if stop.Kind == tracee.Ended {
			s.ended(stop)
			s.died(stop.TID, stop.Status)
			s.gone(stop.TID)
			if stop.TID == s.child.PID {
				if first = stop.Status; s.config.Pair == nil {
					return first, nil
				}
				s.outlive()
			}
			continue
		}
		if err := s.refused(stop.TID); err != nil {
			return 0, err
		}
		if stop.Kind != tracee.Exec {
			s.stopped(stop.TID)
			if s.waits(stop) {
				continue
			}
		}
		s.stop(stop)
	}
}

// stop is a tracee that has stopped.
func (s *supervisor) stop(stop tracee.Stop) {
	s.watch.serving(stop.TID)
	t := s.tasks[stop.TID]
	if t == nil {
		t = s.enter(stop.TID)
	}
	t.listens = false
	if stop.Kind == tracee.Exec {
		t = s.leader(t)
	}
	if err := s.attend(t, stop); err != nil && !tracee.Gone(err) {
		s.debug(t.TID(), "%v", err)
		t.drop()
		_ = t.Continue(0)
	}
}

// next waits for a stop. The watch sees how long serving it takes, until the next call.
func (s *supervisor) next() (tracee.Stop, error) {
	s.watch.serving(0)
	stop, err := s.tracer.Next()
	s.watch.serving(stop.TID)
	return stop, err
}

// refused releases a command that has kept its process, and that goes on without us. It has sent
// the reason before the signal that stopped it.
func (s *supervisor) refused(tid int) error {
	if s.config.Pair == nil || s.notify >= 0 || s.alone || tid != s.child.TID {
		return nil
	}
	_, err := s.listener()
	if !errors.As(err, new(*Refused)) {
		return nil
	}
	_ = s.tracer.Thread(tid).Detach()
	return err
}

// outlive closes stderr if the command has ended and left descendants: whoever reads stderr may
// wait for its end.
func (s *supervisor) outlive() {
	if len(s.tasks) > 0 {
		sys.LetGo(unix.Stderr)
	}
}

// serve hands a stop to the call that the tracee is making. It serves itself every stop that does
// not belong to that call.
func (s *supervisor) serve(t *task, stop tracee.Stop) error {
	if t.call != nil {
		outcome, err := t.call.Stop(stop)
		if outcome == tracee.Over {
			t.call = nil
		}
		if outcome != tracee.Foreign {
			return err
		}
	}
	switch stop.Kind {
	case tracee.Seccomp:
		return s.begin(t, stop)
	case tracee.Exec:
		return s.execStop(t)
	case tracee.Fork, tracee.Vfork:
		return s.cloneStop(t, stop.Kind == tracee.Vfork)
	case tracee.Group:
		return s.groupStop(t, stop.Signal)
	case tracee.Signal:
		return s.signalStop(t, stop.Signal)
	}
	return t.Continue(0)
}

// begin serves a tracee about to make a call that the filter stops; the stop's data says which. A
// call that was in progress is over.
func (s *supervisor) begin(t *task, stop tracee.Stop) error {
	t.drop()
	_, _ = s.listener()
	data, err := t.Message()
	if err != nil {
		return err
	}
	if clone := tracee.Untraced(data); clone != nil {
		return s.keepTraced(t, clone)
	}
	if data == 0 || int(data) > len(tracee.Execs) {
		t.call, err = s.spoof.Begin(t, data)
		return err
	}
	e := &exec{s: s, t: t, call: &tracee.Execs[data-1]}
	if e.regs, err = t.Registers(); err != nil {
		return err
	}
	t.call = e
	return s.serve(t, stop)
}

// keepTraced traces the child of a tracee that is about to start it untraced.
func (s *supervisor) keepTraced(t *task, clone *tracee.Call) error {
	s.traces(t)
	regs, err := t.Registers()
	if err != nil {
		return err
	}
	regs.Trace(clone)
	if err := t.SetRegisters(regs); err != nil {
		return err
	}
	return t.Continue(0)
}

// execStop serves a tracee with a new native program.
func (s *supervisor) execStop(t *task) error {
	s.toNative(t)
	t.runs(nil)
	s.spoof.TellVDSO(t)
	s.execed(t, nil)
	t.drop()
	return t.Continue(0)
}

// enter registers a new tracee.
func (s *supervisor) enter(tid int) *task {
	t := &task{thread: s.tracer.Thread(tid), inherits: true}
	s.tasks[tid] = t
	s.entered(t)
	return t
}

// gone forgets a tracee that has ended.
func (s *supervisor) gone(tid int) {
	s.overtaken(tid)
	s.stopped(tid)
	t := s.tasks[tid]
	if t == nil {
		return
	}
	if !t.announced && tid != s.child.PID {
		s.early[tid] = true
	}
	s.sendAgain(t)
	s.forget(t)
}

func (s *supervisor) forget(t *task) {
	if t.call != nil {
		t.call.Drop()
	}
	t.guest.drop()
	delete(s.tasks, t.TID())
}

// leader returns the tracee that called execve. If it was not the leader of its thread group, it
// has taken over the leader's id.
func (s *supervisor) leader(t *task) *task {
	former, err := t.Message()
	if err != nil || int(former) == t.TID() {
		return t
	}
	s.overtaken(t.TID())
	s.stopped(int(former))
	caller := s.tasks[int(former)]
	if caller == nil {
		t.drop()
		return t
	}
	s.sendAgain(t)
	s.forget(t)
	delete(s.tasks, caller.TID())
	caller.Become(t.TID())
	caller.group = 0
	s.tasks[t.TID()] = caller
	return caller
}

// cloneStop serves a tracee that has a new child or thread, which runs the same program. The
// child's own first stop, or even its end, may have come before.
func (s *supervisor) cloneStop(t *task, vfork bool) error {
	tid, err := t.Message()
	if err != nil {
		return err
	}
	child := s.tasks[int(tid)]
	gone := child == nil && s.early[int(tid)]
	delete(s.early, int(tid))
	if gone {
		return t.resume(0)
	}
	if child == nil {
		child = s.enter(int(tid))
	}
	child.announced = true
	if child.inherits {
		child.inherits = false
		child.guest, child.side = t.guest.share(), t.side
		if vfork {
			child.lender = t.TID()
		}
	}
	return t.resume(0)
}

// groupStop serves a new tracee's first stop, the end of a group-stop (both SIGTRAP), or a
// group-stop.
func (s *supervisor) groupStop(t *task, signal unix.Signal) error {
	switch signal {
	case unix.SIGSTOP, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU:
		err := t.Listen()
		t.listens = true
		s.stopToo(t, signal)
		return err
	}
	if t.nudged && t.call == nil {
		t.nudged = false
		return s.deliver(t, 0)
	}
	return t.resume(0)
}
