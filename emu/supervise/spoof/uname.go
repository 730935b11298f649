package spoof

import (
	"errors"

	"golang.org/x/sys/unix"

	"binproxy/emu/identity"
	"binproxy/emu/supervise/tracee"
)

// layout is the size in bytes of each field of a uname variant. All variants start with the five
// of identity.Fields in that order (linux/include/uapi/linux/utsname.h).
type layout int

const (
	newUtsname    layout = 65 // and olduname's, which lacks the fields after the five
	oldoldUtsname layout = 9
)

// fill writes the fields that are set to their places, padded with NULs.
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

// uname is a uname in progress.
type uname struct {
	spoof  *Spoof
	thread Thread
	call   *call
	at     uint64 // where its answer goes
}

// unameBegin serves a thread about to call uname. The kernel answers first, so that a field that
// is not set stays as this process sees it, by its UTS namespace and its personality.
func (s *Spoof) unameBegin(t Thread, c *call) (tracee.Progress, error) {
	regs, err := t.Registers()
	if err != nil {
		return nil, err
	}
	return &uname{s, t, c, *regs.Arg(c.ABI, 0)}, t.ToSyscall(0)
}

// ToEnd is true: the answer is there at the end.
func (u *uname) ToEnd() bool { return true }

// Drop has nothing to release.
func (u *uname) Drop() {}

// Stop serves the end of the call.
func (u *uname) Stop(stop tracee.Stop) (tracee.Outcome, error) {
	if stop.Kind != tracee.Syscall {
		return tracee.Foreign, nil
	}
	regs, err := u.thread.Registers()
	if err != nil {
		return tracee.Over, err
	}
	if regs.Result() == 0 {
		err := u.tell()
		if err != nil && !tracee.Gone(err) {
			err = u.tellUndumpable(regs)
		}
		if err != nil {
			return tracee.Over, err
		}
	}
	return tracee.Over, u.thread.Continue(0)
}

func (u *uname) tell() error {
	b := make([]byte, len(identity.Fields)*int(u.call.unameOf))
	if err := u.thread.Read(u.at, b); err != nil {
		return err
	}
	u.call.unameOf.fill(b, u.spoof.identity)
	return u.thread.Write(u.at, b)
}

// tellUndumpable answers a process whose memory nobody may read, because it changed its ids. It is
// made dumpable for a moment.
func (u *uname) tellUndumpable(regs tracee.Registers) error {
	t, abi := u.thread, u.call.ABI
	back := regs
	back.Finished()
	return t.Quietly(func() error {
		was, err := t.CallAt(abi, regs, regs.Instruction(), abi.Prctl, unix.PR_GET_DUMPABLE, 0)
		if err != nil {
			return err
		}
		return errors.Join(t.WhileDumpable(abi, regs, was, u.tell), t.SetRegisters(back))
	})
}
