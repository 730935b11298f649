package supervise

import (
	"errors"

	"golang.org/x/sys/unix"

	"binproxy/emu/identity"
	"binproxy/emu/supervise/tracee"
)

// layout is how a variant of uname lays its fields down: how many bytes one has. All of them have the five of identity.Fields in
// that order first (linux/include/uapi/linux/utsname.h).
type layout int

const (
	newUtsname    layout = 65 // and olduname's, which lacks what follows the five
	oldoldUtsname layout = 9
)

// answer is a uname on its way.
type answer struct {
	call *spoofedCall
	at   uint64
}

// unameStop is a tracee about to ask for the identity. The kernel answers first: what nobody set is as this process sees it, by its
// UTS namespace and its personality.
func (s *supervisor) unameStop(t *task, c *spoofedCall) error {
	regs, err := t.Registers()
	if err != nil {
		return err
	}
	t.answer = &answer{c, *regs.Arg(c.ABI, 0)}
	return t.ToSyscall(0)
}

// unameEnd is the end of that call.
func (s *supervisor) unameEnd(t *task) error {
	a := t.answer
	t.answer = nil
	regs, err := t.Registers()
	if err != nil {
		return err
	}
	if regs.Result() == 0 {
		err := s.tell(t, a)
		if err != nil && !tracee.Gone(err) {
			err = s.tellUndumpable(t, a, regs)
		}
		if err != nil {
			return err
		}
	}
	return t.Continue(0)
}

func (s *supervisor) tell(t *task, a *answer) error {
	b := make([]byte, len(identity.Fields)*int(a.call.unameOf))
	if err := t.Read(a.at, b); err != nil {
		return err
	}
	a.call.unameOf.fill(b, s.spoof.identity)
	return t.Write(a.at, b)
}

// fill puts the fields that are set in their places, with NULs up to their ends.
func (l layout) fill(b []byte, id identity.Identity) {
	for i, f := range identity.Fields {
		value := *f.Of(&id)
		if value == "" {
			continue
		}
		field := b[i*int(l) : (i+1)*int(l)]
		clear(field)
		copy(field[:l-1], value)
	}
}

// tellUndumpable tells a process whose memory nobody may read: it changed its ids. It is made dumpable for a moment.
func (s *supervisor) tellUndumpable(t *task, a *answer, regs tracee.Registers) error {
	abi := a.call.ABI
	back := regs
	back.Finished()
	return t.Quietly(func() error {
		was, err := t.CallAt(abi, regs, regs.Instruction(), abi.Prctl, unix.PR_GET_DUMPABLE, 0)
		if err != nil {
			return err
		}
		told := s.whileDumpable(t, abi, regs, was, func() error { return s.tell(t, a) })
		return errors.Join(told, t.SetRegisters(back))
	})
}

// whileDumpable does something to a tracee in a syscall-stop that takes it to be dumpable, which it was so far as PR_GET_DUMPABLE says.
func (s *supervisor) whileDumpable(t *task, abi *tracee.ABI, regs tracee.Registers, was int64, do func() error) error {
	set := func(value uint64) error {
		_, err := t.CallAt(abi, regs, regs.Instruction(), abi.Prctl, unix.PR_SET_DUMPABLE, value)
		return err
	}
	if err := set(1); err != nil {
		return err
	}
	done := do()
	if was == 1 {
		return done
	}
	return errors.Join(done, set(0))
}
