package supervise

import (
	"errors"
	"slices"

	"golang.org/x/sys/unix"

	"binproxy/emu/supervise/tracee"
)

// A process that changed its ids is not dumpable: its tracer, without CAP_SYS_PTRACE, is then
// refused its memory and its files in /proc. So it is made dumpable for as long as we look at it,
// and at no other time: others of the same user could read its memory then, too, and a vfork's
// parent, whose memory it is, would stay so.

// openly does what needs the memory of the tracee or its files in /proc, at the end of a call.
func (e *exec) openly(do func() error) error {
	if !e.undumpable {
		return do()
	}
	regs, err := e.t.Registers()
	if err != nil {
		return err
	}
	return e.t.WhileDumpable(e.call.ABI, regs, 0, do)
}

// routeOpenly is route for a tracee whose memory may not be read. Its call is given up for one
// that asks whether it is dumpable, and made again as far as it is the kernel's.
func (e *exec) routeOpenly() error {
	if err := e.t.Hold(); err != nil {
		return err
	}
	was, err := e.t.Instead(e.call.ABI, e.regs, e.call.Prctl, unix.PR_GET_DUMPABLE, 0)
	if err != nil {
		return err
	}
	e.undumpable = was != 1
	var found error
	err = e.openly(func() error {
		found = e.look()
		return nil
	})
	if err != nil {
		return errors.Join(err, found)
	}
	return e.decide(found, tracee.Leaving)
}

// again takes the tracee back to make its call as it was made.
func (e *exec) again() error {
	regs := e.regs
	regs.Again(uint64(e.call.Nr))
	if err := e.t.SetRegisters(regs); err != nil {
		return err
	}
	e.phase = decided
	return e.t.Continue(0)
}

// asMade is the call as it was made: the kernel's, or the kernel is asked by it.
func (e *exec) asMade() error {
	if e.emulator == nil {
		return e.through()
	}
	e.phase = asking
	return e.t.ToSyscall(0)
}

// witnesses are the tracees that run and could look at one, were it dumpable: those of its user.
// Who waits for a vfork's child does not run.
func (s *supervisor) witnesses(tid int) (list []int) {
	user, err := s.sight.User(tid)
	if err != nil {
		return nil
	}
	var lenders []int
	for _, t := range s.tasks {
		lenders = append(lenders, t.lender)
	}
	for other, t := range s.tasks {
		waits := slices.ContainsFunc(s.waiting, func(stop tracee.Stop) bool { return stop.TID == other })
		if other == tid || t.listens || waits || slices.Contains(lenders, other) {
			continue
		}
		if its, err := s.sight.User(other); err == nil && its == user {
			t.nudged = true
			list = append(list, other)
		}
	}
	return list
}
