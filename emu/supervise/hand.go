package supervise

import (
	"golang.org/x/sys/unix"

	"binproxy/emu/supervise/launch"
	"binproxy/emu/supervise/stack"
	"binproxy/emu/supervise/tracee"
	"binproxy/emu/sys"
)

// hand gives the stopped tracee the descriptors of the emulator and, if needed, of the guest's
// file. Then it takes the tracee back to make its call again, to execute the emulator. Signals
// wait meanwhile.
func (e *exec) hand(req request, from tracee.Where) error {
	if err := e.t.Hold(); err != nil {
		return err
	}
	if _, err := e.s.listener(); err == launch.ErrAlone {
		return e.borrow(req, from)
	} else if err != nil {
		return err
	}
	back, err := e.gather()
	if err != nil {
		return e.refuse(from, sys.Errno(err))
	}
	defer back()
	err = e.t.Give(e.call, e.regs, from, e.files)
	if refused, ok := err.(*tracee.GiveError); ok {
		if refused.Errno == unix.EMFILE {
			return e.borrowInstead()
		}
		return e.failed(-int64(refused.Errno))
	}
	if err != nil {
		return err
	}
	regs := e.regs
	*regs.Arg(e.call.ABI, 0) = uint64(e.files[len(e.files)-1].Number)
	*regs.Arg(e.call.ABI, 1) = req.empty
	*regs.Arg(e.call.ABI, 2) = req.argv
	*regs.Arg(e.call.ABI, 3) = req.envp
	*regs.Arg(e.call.ABI, 4) = unix.AT_EMPTY_PATH
	return e.anewAs(regs, e.call.Execveat)
}

// anewAs takes the tracee, at the end of a call, back to make the emulator's exec. The filter lets
// that pass, so that its end is seen in any case: a filter of the tracee's own may refuse it, too.
func (e *exec) anewAs(regs tracee.Registers, nr uint64) error {
	e.t.Pass(e.call.ABI, &regs)
	regs.Again(nr)
	if err := e.t.SetRegisters(regs); err != nil {
		return err
	}
	e.phase = ready
	return e.t.ToSyscall(0)
}

// gather opens what the tracee is to get, until back is called. The guest's file is opened anew:
// the emulator reads it from the start.
func (e *exec) gather() (back func(), err error) {
	e.files = e.files[:0]
	back = func() {}
	if e.handsFile() {
		file, err := sys.Reopen(e.s.sight.Self, e.guest.fd, unix.O_RDONLY)
		if err != nil {
			return nil, err
		}
		back = func() { unix.Close(file) }
		e.files = append(e.files, tracee.File{FD: file, Number: -1})
	}
	e.files = append(e.files, tracee.File{FD: e.via.fd, CloseOnExec: true, Number: -1})
	return back, nil
}

// restart takes a tracee that was interrupted back to where its exec begins.
func (e *exec) restart() error {
	if _, err := e.takeBack(); err != nil {
		return err
	}
	regs := e.regs
	regs.Again(uint64(e.call.Nr))
	if err := e.t.SetRegisters(regs); err != nil {
		return err
	}
	return e.through()
}

// failed serves an exec that the kernel refused: the emulator's, for lack of memory or for too
// long a list of arguments, or one that was made only to ask. The tracee gets its former state
// back, and the errno.
func (e *exec) failed(result int64) error {
	if _, err := e.takeBack(); err != nil {
		return err
	}
	back := e.regs
	back.SetResult(result)
	back.Finished()
	if err := e.t.SetRegisters(back); err != nil {
		return err
	}
	return e.through()
}

// takeBack takes back what a tracee, at the end of a call, got for its exec: memory and
// descriptors. It returns the registers that the tracee had.
func (e *exec) takeBack() (tracee.Registers, error) {
	if e.loan != nil {
		_ = e.openly(func() error { e.giveBack(e.t); return nil })
	}
	regs, err := e.t.Registers()
	if err != nil {
		return regs, err
	}
	for i := range e.files {
		f := &e.files[i]
		if f.Number < 0 {
			continue
		}
		if _, err := e.t.CallAt(e.call.ABI, regs, regs.Instruction(), e.call.Close, uint64(f.Number), 0); err != nil {
			return regs, err
		}
		f.Number = -1
	}
	return regs, nil
}

// refuse ends a call with an errno.
func (e *exec) refuse(from tracee.Where, errno unix.Errno) error {
	if from == tracee.Entering {
		if err := e.t.Skip(e.regs, -int64(errno)); err != nil {
			return err
		}
		if err := e.t.Finish(); err != nil {
			return err
		}
	}
	return e.failed(-int64(errno))
}

// rename gives the new process the name that the kernel would have given it: /proc/PID/comm has
// the name of the emulator's descriptor. regs are the registers that the process starts with.
func (e *exec) rename(regs tracee.Registers, new stack.Rewritten) error {
	at, err := e.callIn(new)
	if err != nil {
		return e.end(err)
	}
	_, err = e.t.CallAt(tracee.ABI64, regs, at, tracee.ABI64.Prctl, unix.PR_SET_NAME, new.Name)
	return err
}
