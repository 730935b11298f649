package supervise

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"binproxy/emu/sys"
)

// Without a listener (Linux before 5.9, or a filter above ours that has one, as some container managers install) no descriptor can be handed
// over: the emulator is then named by its path, which has to be visible to the tracee. The path is put below the tracee's stack for as
// long as the call takes.

// redZone is what may be in use below a stack pointer: 128 bytes on amd64, nothing elsewhere.
const redZone = 128

// loan is memory of a tracee that has been written over, and what was there.
type loan struct {
	addr  uint64
	saved []byte
}

// borrow makes the tracee's call one that executes the emulator by its path.
func (s *supervisor) borrow(t *tracee, e *pending, req request, from where) error {
	path := e.via.path
	if err := s.visible(t, e, path); err != nil {
		s.say("%s: %v", req.path, err)
		return s.refuse(t, e, from, unix.ENOEXEC)
	}
	m := s.memory(t)
	text := append([]byte(path), 0)
	l := loan{(*e.regs.sp() - redZone - uint64(len(text))) &^ (stackAlign - 1), make([]byte, len(text))}
	if err := m.read(l.addr, l.saved); err != nil {
		return err
	}
	if err := m.write(l.addr, text); err != nil {
		return err
	}
	e.loan = &l
	regs := e.regs
	*regs.arg(e.call, 0), *regs.arg(e.call, 1), *regs.arg(e.call, 2) = l.addr, req.argv, req.envp
	if from == leaving {
		regs.again(e.call.numbers.execve)
		e.phase = ready
	} else {
		if err := regs.replace(t.tid, e.call.numbers.execve); err != nil {
			return err
		}
		e.phase = running
	}
	if err := regs.set(t.tid); err != nil {
		return err
	}
	return s.resume(t, 0)
}

// visible tells why the tracee cannot execute the emulator by its path, or the emulator not open the guest's file by its.
func (s *supervisor) visible(t *tracee, e *pending, path string) error {
	v, err := s.newView(t, path, unix.AT_FDCWD)
	if err != nil {
		return err
	}
	defer v.close()
	if !v.leads(path, e.via.fd) {
		return fmt.Errorf("%s is not in its root, and without a listener it cannot be handed over", path)
	}
	if e.handsFile() && !v.leads(e.plan.File.Path, e.guest.fd) {
		return errors.New("the emulator cannot open it by a path, and without a listener it cannot be handed over")
	}
	e.byFD = false
	return nil
}

// leads tells whether an absolute path leads the tracee to a file that we have open, and that it may read.
func (v *view) leads(path string, fd int) bool {
	if !strings.HasPrefix(path, "/") {
		return false
	}
	back := v.s.assume(v.stance)
	defer back()
	found, st, errno := v.lookUp(path)
	if errno != 0 {
		return false
	}
	defer unix.Close(found)
	return sameFile(found, fd) && v.permits(found, &st, unix.R_OK)
}

// refuse ends a call with an errno.
func (s *supervisor) refuse(t *tracee, e *pending, from where, errno unix.Errno) error {
	if from == leaving {
		return s.failed(t, e, -int64(errno))
	}
	regs := e.regs
	if err := regs.skip(t.tid, -int64(errno)); err != nil {
		return err
	}
	if err := regs.set(t.tid); err != nil {
		return err
	}
	if err := s.toSyscallStop(t); err != nil {
		return err
	}
	return s.failed(t, e, -int64(errno))
}

// giveBack restores what a loan has written over; pid is a process whose memory it is.
func (s *supervisor) giveBack(e *pending, tid int) {
	if e.loan != nil {
		_ = memory{tid, s.proc}.write(e.loan.addr, e.loan.saved)
		e.loan = nil
	}
}

// hasListener tells whether the launcher could send a listener that can hand descriptors over.
func (s *supervisor) hasListener() (bool, error) {
	if s.alone {
		return false, nil
	}
	listener, err := s.listener()
	if errors.Is(err, errAlone) || err == nil && !sys.CanGiveDescriptors(listener) {
		s.alone = true
		return false, nil
	}
	return err == nil, err
}
