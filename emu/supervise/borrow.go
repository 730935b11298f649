package supervise

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"binproxy/emu/supervise/tracee"
)

// Without a listener (Linux before 5.9, or a filter above ours that has one, as some container
// managers install) no descriptor can be handed over. The emulator is then named by its path,
// which must be visible to the tracee. The path is written below the tracee's stack for the
// duration of the call.

// loan is memory of a tracee that was overwritten, and its former content.
type loan struct {
	addr  uint64
	saved []byte
}

// borrow turns the tracee's call into one that executes the emulator by its path.
func (e *exec) borrow(req request, from tracee.Where) error {
	var invisible error
	err := e.openly(func() error {
		if invisible = e.visible(e.via.path); invisible != nil {
			return nil
		}
		return e.lay(e.via.path)
	})
	if err != nil {
		return err
	}
	if invisible != nil && e.full {
		return e.failed(-int64(unix.EMFILE))
	}
	if invisible != nil {
		e.s.say("%s: %v", req.path, invisible)
		return e.refuse(from, unix.ENOEXEC)
	}
	regs := e.regs
	abi := e.call.ABI
	*regs.Arg(abi, 0), *regs.Arg(abi, 1), *regs.Arg(abi, 2) = e.loan.addr, req.argv, req.envp
	if from == tracee.Leaving {
		return e.anewAs(regs, abi.Execve)
	}
	if err := e.t.Begin(regs, abi.Execve); err != nil {
		return err
	}
	return e.run()
}

// borrowInstead serves a tracee, at the end of its call for help, that has no number free for a
// descriptor. The kernel needs none of the caller's for an exec.
func (e *exec) borrowInstead() error {
	if _, err := e.takeBack(); err != nil {
		return err
	}
	e.files, e.full = nil, true
	return e.borrow(e.req, tracee.Leaving)
}

// lay writes a path below the tracee's stack.
func (e *exec) lay(path string) error {
	text := append([]byte(path), 0)
	l := loan{e.regs.Below(len(text)), make([]byte, len(text))}
	if err := e.t.Read(l.addr, l.saved); err != nil {
		return err
	}
	if err := e.t.Write(l.addr, text); err != nil {
		return err
	}
	e.loan = &l
	return nil
}

// visible says why the tracee cannot execute the emulator by its path, or the emulator cannot open
// the guest's file by its path.
func (e *exec) visible(path string) error {
	v, err := e.s.sight.View(e.t.TID(), path, unix.AT_FDCWD)
	if err != nil {
		return err
	}
	defer v.Close()
	if !v.Leads(path, e.via.fd) {
		return fmt.Errorf("%s is not in its root, and without a listener it cannot be handed over", path)
	}
	if e.handsFile() && !v.Leads(e.plan.File.Path, e.guest.fd) {
		return errors.New("the emulator cannot open it by a path, and without a listener it cannot be handed over")
	}
	e.byFD = false
	return nil
}

// giveBack restores the memory of a loan, in a process that has this memory.
func (e *exec) giveBack(m interface{ Write(uint64, []byte) error }) {
	if e.loan != nil {
		_ = m.Write(e.loan.addr, e.loan.saved)
		e.loan = nil
	}
}
