package supervise

import (
	"errors"
	"path"

	"golang.org/x/sys/unix"

	"binproxy/emu/config"
	"binproxy/emu/resolve"
	"binproxy/emu/sys"
)

// An exec of a guest takes a tracee through these phases. Every change is one that a failing exec can take back, and nothing is written into
// memory that another process may share: the emulator is named by a descriptor, and the arguments are put in order on the new stack.
type phase int

const (
	asking  phase = iota // the call as it was made is on its way, to see if the kernel refuses the file for more than its format
	ready                // the emulator's descriptor is there; the call starts anew
	running              // the emulator's exec is on its way
	loaded               // the emulator is in memory, its stack is in order; the call is about to end
)

// pending is an exec of a guest.
type pending struct {
	phase    phase
	call     *execCall
	regs     registers // as the call was made
	mask     uint64    // the signals that the tracee blocks; all of them wait until the exec is through
	blocked  bool
	dumpable bool // it was made dumpable, which a failing exec must undo

	plan     resolve.Plan
	emulator *emulator
	guest    *guest
	name     string // what the process is to be called
	byFD     bool   // the guest's file is handed over as a descriptor
	nameAt   uint64 // where that lies in the new program's memory
	vdso     uint64 // where the new program has its vDSO
	fds      []int  // our descriptors' numbers in the tracee: the guest's file, if it is handed over, and the emulator
}

// emulator is an emulator that is open.
type emulator struct {
	config.Emulator
	fd int
}

// request is what the tracee asked for.
type request struct {
	path  string
	dirfd int
	flags uint64
	argv  uint64
	envp  uint64
	empty uint64 // the address of an empty string: the end of path
}

func (r request) plain() bool { return r.dirfd == unix.AT_FDCWD && r.flags == 0 }

// seccompStop is a tracee about to exec.
func (s *supervisor) seccompStop(t *tracee) error {
	if t.exec != nil && t.exec.phase == ready {
		t.exec.phase = running
		return sys.ContinueToSyscall(t.tid, 0)
	}
	if t.exec != nil {
		s.settle(t)
	}
	data, err := sys.EventMessage(t.tid)
	if err != nil {
		return err
	}
	if data == 0 || int(data) > len(execCalls) {
		return sys.Continue(t.tid, 0) // the tracee's own filter asked for this
	}
	e := &pending{call: &execCalls[data-1]}
	if err := e.regs.get(t.tid); err != nil {
		return err
	}
	return s.route(t, e)
}

// request reads what the call asks for.
func (s *supervisor) request(t *tracee, e *pending) (request, error) {
	r := request{dirfd: unix.AT_FDCWD}
	arg := func(n int) uint64 { return *e.regs.arg(e.call, n) }
	at := 0
	if e.call.at {
		r.dirfd, r.flags, at = int(int32(arg(0))), arg(4), 1
	}
	address := arg(at)
	r.argv, r.envp = arg(at+1), arg(at+2)
	var err error
	r.path, err = s.memory(t).readString(address, unix.PathMax)
	r.empty = address + uint64(len(r.path))
	return r, err
}

// route decides what becomes of the exec. Whatever is no guest program that the kernel would execute is left to the kernel, whose
// answer then is the right one.
func (s *supervisor) route(t *tracee, e *pending) error {
	if e.call.at && uint32(*e.regs.arg(e.call, 4)) == sys.QuestionFlags {
		return s.answer(t, e)
	}
	req, err := s.request(t, e)
	if err != nil {
		s.debug(t, "%v", err)
		return sys.Continue(t.tid, 0)
	}
	if req.flags&^(unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW) != 0 || req.path == "" && req.flags&unix.AT_EMPTY_PATH == 0 {
		return sys.Continue(t.tid, 0)
	}
	v, err := s.newView(t, req.path, req.dirfd)
	if err != nil {
		s.debug(t, "%s: %v", req.path, err)
		return sys.Continue(t.tid, 0)
	}
	defer v.close()
	v.follow = req.flags&unix.AT_SYMLINK_NOFOLLOW == 0
	plan, errno := s.resolver.Resolve(v, resolve.Request{Path: req.path})
	if errno != 0 || plan.Native() {
		s.debug(t, "exec %s: left to the kernel", req.path)
		return sys.Continue(t.tid, 0)
	}
	if e.emulator, err = s.emulator(plan.ABI); err != nil {
		s.say("%s: %v", req.path, err)
		return sys.Continue(t.tid, 0)
	}
	e.plan, e.byFD, e.name = plan, v.byFD, path.Base(req.path)
	e.guest = &guest{fd: v.last.path, path: plan.File.Path, refs: 1}
	v.last.path = -1
	t.exec = e
	if v.doubt || !req.plain() {
		e.phase = asking
		return sys.ContinueToSyscall(t.tid, 0)
	}
	return s.hand(t, e, req, entering)
}

// answer tells a program that asks that it is supervised.
func (s *supervisor) answer(t *tracee, e *pending) error {
	if err := e.regs.skip(t.tid, sys.QuestionAnswer); err != nil {
		return err
	}
	if err := e.regs.set(t.tid); err != nil {
		return err
	}
	return sys.Continue(t.tid, 0)
}

// hand gives the stopped tracee the descriptors of the emulator and, if need be, of the guest's file, and takes it back to make its
// call anew, as one that executes the emulator. Signals wait meanwhile.
func (s *supervisor) hand(t *tracee, e *pending, req request, from where) error {
	if err := s.block(t, e); err != nil {
		return err
	}
	err := s.give(t, e, from)
	var refused *handError
	if errors.As(err, &refused) {
		return s.failed(t, e, -int64(refused.errno))
	}
	if err != nil {
		return err
	}
	regs := e.regs
	*regs.arg(e.call, 0) = uint64(e.fds[len(e.fds)-1])
	*regs.arg(e.call, 1) = req.empty
	*regs.arg(e.call, 2) = req.argv
	*regs.arg(e.call, 3) = req.envp
	*regs.arg(e.call, 4) = unix.AT_EMPTY_PATH
	regs.again(e.call.numbers.execveat)
	if err := regs.set(t.tid); err != nil {
		return err
	}
	e.phase = ready
	return sys.Continue(t.tid, 0)
}

func (s *supervisor) block(t *tracee, e *pending) error {
	if e.blocked {
		return nil
	}
	var err error
	if e.mask, err = sys.Blocked(t.tid); err != nil {
		return err
	}
	e.blocked = true
	return sys.SetBlocked(t.tid, ^uint64(0))
}

// execStop is a tracee with a new program.
func (s *supervisor) execStop(t *tracee) error {
	e := t.exec
	if e == nil || e.phase != running {
		s.settle(t)
		t.guest.drop()
		t.guest = nil
		return sys.Continue(t.tid, 0)
	}
	t.guest.drop()
	t.guest, e.guest = e.guest, nil
	if err := s.arrange(t, e); err != nil {
		return err
	}
	e.phase = loaded
	return sys.ContinueToSyscall(t.tid, 0)
}

// arrange puts the emulator's arguments on its new stack.
func (s *supervisor) arrange(t *tracee, e *pending) error {
	var regs registers
	if err := regs.get(t.tid); err != nil {
		return err
	}
	m := s.memory(t)
	old, err := readStack(*regs.sp(), m.read)
	if err != nil {
		return err
	}
	argv, envp, err := s.arguments(e.plan, e.emulator, old, m)
	if err != nil {
		return err
	}
	var aux []uint64
	if e.byFD {
		aux = []uint64{auxExecfd, uint64(e.fds[0])}
	}
	new := old.rewrite(*regs.sp(), argv, envp, aux, e.name)
	if err := m.write(new.sp, new.bytes); err != nil {
		return err
	}
	*regs.sp() = new.sp
	s.debug(t, "exec %s: %s", e.name, e.emulator.Path)
	e.regs = regs
	e.nameAt, e.vdso = new.name, old.auxValue(auxVDSO)
	return regs.set(t.tid)
}

// syscallStop is the end of a call that was let go in one of the phases.
func (s *supervisor) syscallStop(t *tracee) error {
	e := t.exec
	if e == nil {
		return sys.Continue(t.tid, 0)
	}
	var regs registers
	if err := regs.get(t.tid); err != nil {
		return err
	}
	switch e.phase {
	case asking:
		if regs.result() == -int64(unix.ENOEXEC) {
			req, err := s.request(t, e)
			if err != nil {
				break
			}
			return s.hand(t, e, req, leaving)
		}
	case running:
		return s.failed(t, e, regs.result())
	case loaded:
		s.rename(t, e, regs)
	}
	s.settle(t)
	return sys.Continue(t.tid, 0)
}

// settle ends an exec, in whatever phase: signals are let through again.
func (s *supervisor) settle(t *tracee) {
	e := t.exec
	if e == nil {
		return
	}
	t.exec = nil
	e.guest.drop()
	if e.blocked {
		_ = sys.SetBlocked(t.tid, e.mask)
	}
}
