package supervise

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"binproxy/emu/resolve"
	"binproxy/emu/supervise/stack"
	"binproxy/emu/supervise/tracee"
	"binproxy/emu/sys"
	"binproxy/emu/twin"
)

// An exec of a guest takes a tracee through these phases. Every change is one that a failing exec
// can take back, and nothing is written into memory that another process may share: the emulator
// is named by a descriptor, and the arguments are put in order on the new stack.
type phase int

const (
	anew    phase = iota // the call is made once more, from the start
	asking               // the call is on its way as it was made, to see if the kernel refuses the file for more than its format
	ready                // the emulator's descriptor is there; the call starts anew
	running              // the emulator's exec is on its way
	loaded               // the emulator is in memory, its stack is in order; the call is about to end
)

// pending is an exec of a guest.
type pending struct {
	phase    phase
	call     *tracee.Call
	regs     tracee.Registers // as the call was made
	dumpable bool             // it was made dumpable, which a failing exec must undo

	plan     resolve.Plan
	emulator *emulator
	via      *executable // what is executed in the guest's place: the emulator, or the twin's loader
	verdict  *twin.Verdict
	why      string // why a program that a rule allows a twin runs emulated
	guest    *guest
	name     string        // what the process is to be called
	doubt    bool          // the kernel is asked first if it would execute the file
	byFD     bool          // the guest's file is handed over as a descriptor
	loan     *loan         // memory of the caller that the call uses
	files    []tracee.File // what the tracee is given: the guest's file, if it is handed over, and the emulator
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

// name is what the kernel calls a file that is named by a descriptor (fs/exec.c, alloc_bprm); ""
// for one that its path alone names.
func (r request) name() string {
	switch {
	case r.dirfd == unix.AT_FDCWD || strings.HasPrefix(r.path, "/"):
		return ""
	case r.path == "":
		return fmt.Sprintf("/dev/fd/%d", r.dirfd)
	}
	return fmt.Sprintf("/dev/fd/%d/%s", r.dirfd, r.path)
}

// seccompStop is a tracee about to exec.
func (s *supervisor) seccompStop(t *task) error {
	if e := t.exec; e != nil {
		switch e.phase {
		case ready:
			e.phase = running
			return t.ToSyscall(0)
		case anew:
			return s.route(t, e)
		}
		s.settle(t)
	}
	data, err := t.Message()
	if err != nil {
		return err
	}
	if data == 0 || int(data) > len(tracee.Execs) {
		return s.spoofStop(t, data)
	}
	e := &pending{call: &tracee.Execs[data-1]}
	if e.regs, err = t.Registers(); err != nil {
		return err
	}
	return s.route(t, e)
}

// request reads what the call asks for.
func (s *supervisor) request(t *task, e *pending) (request, error) {
	r := request{dirfd: unix.AT_FDCWD}
	arg := func(n int) uint64 { return *e.regs.Arg(e.call.ABI, n) }
	at := 0
	if e.call.At() {
		r.dirfd, r.flags, at = int(int32(arg(0))), arg(4), 1
	}
	address := arg(at)
	r.argv, r.envp = arg(at+1), arg(at+2)
	var err error
	r.path, err = t.ReadString(address, unix.PathMax)
	r.empty = address + uint64(len(r.path))
	return r, err
}

// route decides what becomes of the exec.
func (s *supervisor) route(t *task, e *pending) error {
	if e.call.At() && uint32(*e.regs.Arg(e.call.ABI, 4)) == sys.QuestionFlags {
		return s.answer(t, e)
	}
	req, err := s.request(t, e)
	if errors.Is(err, tracee.ErrDenied) && !e.dumpable {
		return s.allow(t, e)
	}
	s.asked(t, req.path)
	if err == nil {
		err = s.plan(t, e, req)
	}
	if err != nil {
		s.debug(t, "exec %s: left to the kernel: %v", req.path, err)
		return s.leave(t, e)
	}
	t.exec = e
	if e.doubt || !req.plain() {
		e.phase = asking
		return t.ToSyscall(0)
	}
	return s.hand(t, e, req, tracee.Entering)
}

// leave leaves the exec to the kernel, whose answer then is the right one.
func (s *supervisor) leave(t *task, e *pending) error {
	if !e.dumpable {
		return t.Continue(0)
	}
	t.exec, e.phase, e.emulator = e, asking, nil
	return t.ToSyscall(0)
}

var errNative = errors.New("not a guest program")

// plan finds out what is to happen. Its error says why the exec is the kernel's: whatever is no
// guest program that the kernel would execute.
func (s *supervisor) plan(t *task, e *pending, req request) error {
	if req.flags&^(unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW) != 0 || req.path == "" && req.flags&unix.AT_EMPTY_PATH == 0 {
		return unix.EINVAL
	}
	v, err := s.sight.View(t.TID(), req.path, req.dirfd)
	if err != nil {
		return err
	}
	defer v.Close()
	v.Follow = req.flags&unix.AT_SYMLINK_NOFOLLOW == 0
	v.First = req.name()
	plan, errno := s.resolver.Resolve(v, resolve.Request{Path: req.path, Twin: s.twinFor(t, e, req, v)})
	if errno != 0 {
		return errno
	}
	if plan.Native() {
		return errNative
	}
	if e.emulator, err = s.emulator(plan.ABI); err != nil {
		s.say("%s: %v", req.path, err)
		return err
	}
	e.via = &e.emulator.executable
	e.plan, e.byFD, e.doubt, e.name = plan, v.ByFD, v.Doubt, path.Base(req.path)
	if req.path == "" {
		e.name = s.sight.NameOf(v.Last.FD) // as Linux 6.14 has it; before, it was the descriptor's number
	}
	e.guest = &guest{fd: v.Last.Take(), refs: 1, abi: plan.ABI, emulator: e.emulator}
	if plan.Twin != nil {
		e.via, e.guest.emulator = &s.twins.loader, nil
	}
	return nil
}

// handsFile reports whether the guest's file is handed over; a twin has no use for it.
func (e *pending) handsFile() bool { return e.byFD && e.plan.Twin == nil }

// answer tells a program that asks that it is supervised.
func (s *supervisor) answer(t *task, e *pending) error {
	if err := t.Skip(e.regs, sys.QuestionAnswer); err != nil {
		return err
	}
	return t.Continue(0)
}

// execStop is a tracee with a new program.
func (s *supervisor) execStop(t *task) error {
	t.inherits = false
	t.guest.drop()
	t.guest = nil
	defer func() { t.lender = 0 }()
	if e := t.exec; e != nil && e.phase == running {
		if lender := s.tasks[t.lender]; lender != nil {
			e.giveBack(lender)
		}
		t.guest, e.guest = e.guest, nil
		if e.plan.Twin != nil {
			s.tellVDSO(t) // it is a native program
		}
		s.execed(t, e)
		e.phase = loaded
		return t.ToSyscall(0)
	}
	s.tellVDSO(t)
	s.execed(t, nil)
	return s.through(t)
}

// syscallStop is the end of a call that was let go in one of the phases.
func (s *supervisor) syscallStop(t *task) error {
	if t.answer != nil {
		return s.unameEnd(t)
	}
	e := t.exec
	if e == nil {
		return t.Continue(0)
	}
	regs, err := t.Registers()
	if err != nil {
		return err
	}
	switch e.phase {
	case asking:
		if e.emulator == nil || regs.Result() != -int64(unix.ENOEXEC) {
			return s.failed(t, e, regs.Result())
		}
		req, err := s.request(t, e)
		if err != nil {
			return err
		}
		return s.hand(t, e, req, tracee.Leaving)
	case running:
		if e.plan.Twin != nil {
			return s.withoutTwin(t, e, regs)
		}
		return s.failed(t, e, regs.Result())
	case loaded:
		return s.arrange(t, e, regs)
	}
	return s.through(t)
}

// arrange puts the emulator's arguments on its new stack and gives the process its name. If that
// fails, the process must not run.
func (s *supervisor) arrange(t *task, e *pending, regs tracee.Registers) error {
	new, err := s.newStack(t, e, *regs.SP())
	if err == nil {
		err = t.Write(new.SP, new.Bytes)
	}
	if err != nil {
		if !tracee.Gone(err) {
			s.say("%s: cannot reach the new process %d: %v", e.name, t.TID(), err)
			t.Kill()
		}
		return err
	}
	if twin := e.plan.Twin; twin != nil {
		s.debug(t, "exec %s: twin %s", e.name, twin.File)
	} else {
		s.debug(t, "exec %s: %s %s", e.name, e.emulator.Path, e.plan.File.Path)
	}
	*regs.SP() = new.SP
	if err := s.rename(t, e, regs, new.Name); err != nil {
		return err
	}
	regs.Finished()
	if err := t.SetRegisters(regs); err != nil {
		return err
	}
	return s.through(t)
}

func (s *supervisor) newStack(t *task, e *pending, sp uint64) (stack.Rewritten, error) {
	old, err := stack.Read(sp, t)
	if err != nil {
		return stack.Rewritten{}, err
	}
	var lists stack.Lists
	if e.plan.Twin != nil {
		lists, err = old.ForTwin(e.plan, t)
	} else {
		lists, err = old.ForEmulator(e.plan, e.emulator.Emulator, s.options, t)
	}
	if err != nil {
		return stack.Rewritten{}, err
	}
	for _, mark := range lists.Marks {
		if err := t.Write(mark.At, []byte{mark.Byte}); err != nil {
			return stack.Rewritten{}, err
		}
	}
	var aux []uint64
	if e.handsFile() {
		aux = []uint64{stack.AuxExecfd, uint64(e.files[0].Number)}
	}
	return old.Rewrite(sp, lists, aux, e.name), nil
}

// through ends an exec, in whatever phase, and lets the tracee go on.
func (s *supervisor) through(t *task) error {
	s.settle(t)
	return t.Continue(0)
}

// settle forgets an exec: signals are let through again, and what came while they were not is made
// up for.
func (s *supervisor) settle(t *task) {
	e := t.exec
	if e == nil {
		return
	}
	t.exec = nil
	e.guest.drop()
	t.Release()
}
