package supervise

import (
	"errors"
	"slices"

	"golang.org/x/sys/unix"

	"binproxy/emu/supervise/tracee"
)

// A process that changed its ids is not dumpable. Its tracer, without CAP_SYS_PTRACE, then has no
// access to its memory and its files in /proc. So the supervisor makes it dumpable, but only while
// it looks: otherwise others of the same user could read its memory, too, and a vfork's parent,
// whose memory it uses, would stay dumpable.

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

// routeOpenly is route for a tracee whose memory may not be read. Its call is replaced by one that
// asks whether it is dumpable, and is made again if the kernel is to handle it.
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

// asMade leaves the call to the kernel, or asks the kernel by it, as it was made.
func (e *exec) asMade() error {
	if e.emulator == nil {
		return e.through()
	}
	e.phase = asking
	return e.t.ToSyscall(0)
}

// witnesses are the running tracees that could look at a dumpable one: those of its user. A tracee
// that waits for a vfork's child does not run.
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
