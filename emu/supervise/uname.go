package supervise

import (
	"errors"

	"golang.org/x/sys/unix"

	"binproxy/emu/identity"
	"binproxy/emu/sys"
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
func (s *supervisor) unameStop(t *tracee, c *spoofedCall) error {
	var regs registers
	if err := regs.get(t.tid); err != nil {
		return err
	}
	t.answer = &answer{c, *regs.arg(&c.execCall, 0)}
	return sys.ContinueToSyscall(t.tid, 0)
}

// unameEnd is the end of that call.
func (s *supervisor) unameEnd(t *tracee) error {
	a := t.answer
	t.answer = nil
	var regs registers
	if err := regs.get(t.tid); err != nil {
		return err
	}
	if regs.result() == 0 {
		err := s.tell(t, a)
		if err != nil && !sys.Gone(err) {
			err = s.tellUndumpable(t, a, regs)
		}
		if err != nil {
			return err
		}
	}
	return sys.Continue(t.tid, 0)
}

func (s *supervisor) tell(t *tracee, a *answer) error {
	m := s.memory(t)
	b := make([]byte, len(identity.Fields)*int(a.call.unameOf))
	if err := m.read(a.at, b); err != nil {
		return err
	}
	a.call.unameOf.fill(b, s.spoof.identity)
	return m.write(a.at, b)
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
func (s *supervisor) tellUndumpable(t *tracee, a *answer, regs registers) error {
	c := &a.call.execCall
	back := regs
	back.finished()
	return s.undisturbed(t, func() error {
		at := regs
		at.again(0)
		was, err := s.callAt(t, regs, c, at.ip(), c.numbers.prctl, unix.PR_GET_DUMPABLE)
		if err != nil {
			return err
		}
		told := s.whileDumpable(t, c, regs, was, func() error { return s.tell(t, a) })
		return errors.Join(told, back.set(t.tid))
	})
}

// whileDumpable does something to a tracee in a syscall-exit-stop that takes it to be dumpable, which it was so far as PR_GET_DUMPABLE says.
func (s *supervisor) whileDumpable(t *tracee, c *execCall, regs registers, was int64, do func() error) error {
	at := regs
	at.again(0)
	set := func(value uint64) error {
		_, err := s.callAt(t, regs, c, at.ip(), c.numbers.prctl, unix.PR_SET_DUMPABLE, value)
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
