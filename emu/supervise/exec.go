package supervise

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"binproxy/emu/resolve"
	"binproxy/emu/supervise/sight"
	"binproxy/emu/supervise/stack"
	"binproxy/emu/supervise/tracee"
	"binproxy/emu/sys"
	"binproxy/emu/twin"
)

// An exec of a guest takes a tracee through these phases. A failing exec can undo every change,
// and nothing is written into memory that another process may share: the emulator is named by a
// descriptor, and the arguments are arranged on the new stack.
type phase int

const (
	anew    phase = iota // the call is made, or made again, from the start
	decided              // the call is made again; what becomes of it is decided
	asking               // the call goes on as made, to ask if the kernel would execute the file
	ready                // the emulator's descriptor is there, and its exec is about to start
	running              // the emulator's exec is in progress
	loaded               // the emulator is in memory; its stack is arranged at the call's end
	over                 // the exec has let the tracee go
)

// exec is an exec in progress: of a guest, unless something shows that it is none.
type exec struct {
	s          *supervisor
	t          *task
	phase      phase
	call       *tracee.Call
	regs       tracee.Registers // as the call was made
	req        request
	who        sight.Stance // how the thread was looked at before the exec
	undumpable bool         // what needs its memory is done openly

	plan     resolve.Plan
	emulator *opened
	via      *executable // executed instead of the guest: the emulator, or the twins' loader
	verdict  *twin.Verdict
	why      string // why a program that could have a twin runs emulated
	guest    *guest
	name     string        // the name for the process
	doubt    bool          // ask the kernel first if it would execute the file
	byFD     bool          // the guest's file is handed over as a descriptor
	full     bool          // the caller has no number free for a descriptor
	loan     *loan         // memory of the caller that the call uses
	files    []tracee.File // given to the tracee: the guest's if it is handed over, and via
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
// for a file that only its path names.
func (r request) name() string {
	switch {
	case r.dirfd == unix.AT_FDCWD || strings.HasPrefix(r.path, "/"):
		return ""
	case r.path == "":
		return fmt.Sprintf("/dev/fd/%d", r.dirfd)
	}
	return fmt.Sprintf("/dev/fd/%d/%s", r.dirfd, r.path)
}

// ToEnd is true in every phase but the ones in which the call starts again.
func (e *exec) ToEnd() bool { return e.phase != anew && e.phase != decided }

// Drop releases the guest.
func (e *exec) Drop() {
	e.phase = over
	e.guest.drop()
	e.guest = nil
}

// Stop takes the exec from one phase to the next.
func (e *exec) Stop(stop tracee.Stop) (tracee.Outcome, error) {
	mine, err := e.step(stop.Kind)
	if err == tracee.ErrInterrupted {
		err = e.restart()
	}
	switch {
	case !mine:
		return tracee.Foreign, nil
	case e.phase == over:
		return tracee.Over, err
	}
	return tracee.More, err
}

func (e *exec) step(kind tracee.Kind) (mine bool, err error) {
	if e.phase != loaded && (kind == tracee.Seccomp || kind == tracee.Syscall) {
		e.s.mayOvertake(e.t)
	}
	switch {
	case kind == tracee.Seccomp && e.phase == anew:
		return true, e.route()
	case kind == tracee.Seccomp && e.phase == decided:
		return true, e.asMade()
	case kind == tracee.Syscall && e.phase == ready:
		return true, e.run()
	case kind == tracee.Syscall && e.phase == asking:
		return true, e.answered()
	case kind == tracee.Seccomp && e.phase == running:
		return true, e.run() // the tracee's own filter asked for a tracer
	case kind == tracee.Syscall && e.phase == running:
		return true, e.refused()
	case kind == tracee.Exec && e.phase == running:
		return true, e.load()
	case kind == tracee.Syscall && e.phase == loaded:
		return true, e.arrange()
	}
	return false, nil
}

// request reads the arguments of the call.
func (e *exec) request() (request, error) {
	r := request{dirfd: unix.AT_FDCWD}
	arg := func(n int) uint64 { return *e.regs.Arg(e.call.ABI, n) }
	at := 0
	if e.call.At() {
		r.dirfd, r.flags, at = int(int32(arg(0))), arg(4), 1
	}
	address := arg(at)
	r.argv, r.envp = arg(at+1), arg(at+2)
	var err error
	r.path, err = e.t.ReadString(address, unix.PathMax)
	r.empty = address + uint64(len(r.path))
	return r, err
}

// route decides what becomes of the exec.
func (e *exec) route() error {
	if e.call.At() && uint32(*e.regs.Arg(e.call.ABI, 4)) == sys.QuestionFlags {
		return e.supervised()
	}
	err := e.look()
	if errors.Is(err, tracee.ErrDenied) {
		return e.routeOpenly()
	}
	return e.decide(err, tracee.Entering)
}

// look finds out what is to happen. Its error says why the kernel handles the exec.
func (e *exec) look() (err error) {
	if e.req, err = e.request(); err != nil {
		return err
	}
	return e.find(e.req)
}

// decide does what look has found.
func (e *exec) decide(found error, from tracee.Where) error {
	e.s.asked(e.t, e.req.path)
	if found != nil {
		e.s.debug(e.t.TID(), "exec %s: left to the kernel: %v", e.req.path, found)
		e.emulator = nil
		if strings.HasSuffix(e.req.path, "/newuidmap") {
			e.s.namespaceFirst(e.req.path)
		}
	}
	switch {
	case found == nil && !e.doubt && e.req.plain():
		return e.hand(e.req, from)
	case from == tracee.Leaving:
		return e.again()
	}
	return e.asMade()
}

// supervised tells a program that asks that it is supervised.
func (e *exec) supervised() error {
	if err := e.t.Skip(e.regs, sys.QuestionAnswer); err != nil {
		return err
	}
	return e.through()
}

var errNative = errors.New("not a guest program")

// find finds the program. The kernel handles all but guest programs that it would execute.
func (e *exec) find(req request) error {
	if req.flags&^(unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW) != 0 || req.path == "" && req.flags&unix.AT_EMPTY_PATH == 0 {
		return unix.EINVAL
	}
	s := e.s
	v, err := s.sight.View(e.t.TID(), req.path, req.dirfd)
	if err != nil {
		return err
	}
	defer v.Close()
	e.who = v.Stance()
	v.Follow = req.flags&unix.AT_SYMLINK_NOFOLLOW == 0
	v.First = req.name()
	plan, errno := s.resolver.Resolve(v, resolve.Request{Path: req.path, Twin: e.twinFor(req, v)})
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
	e.plan, e.byFD, e.doubt, e.name = plan, v.ByFD && !v.Unproven, v.Doubt, path.Base(req.path)
	if req.path == "" {
		// As Linux 6.14 has it; before, it was the descriptor's number.
		e.name = s.sight.NameOf(v.Last.FD)
	}
	e.guest = s.newGuest(plan.ABI, v)
	e.guest.emulator = e.emulator
	if plan.Twin != nil {
		e.via, e.guest.emulator = s.twins.via(e.verdict.Twin), nil
	}
	return nil
}

// handsFile reports whether the guest's file is handed over; a twin does not need it.
func (e *exec) handsFile() bool { return e.byFD && e.plan.Twin == nil }

// run serves the emulator's exec, which is about to start.
func (e *exec) run() error {
	e.phase = running
	return e.t.ToSyscall(0)
}

// answered serves the kernel's answer to the call as it was made.
func (e *exec) answered() error {
	regs, err := e.t.Registers()
	if err != nil {
		return err
	}
	if regs.Interrupted() {
		return tracee.ErrInterrupted
	}
	if e.emulator == nil || !e.wrongFormat(unix.Errno(-regs.Result())) {
		return e.failed(regs.Result())
	}
	return e.hand(e.req, tracee.Leaving)
}

// wrongFormat reports whether an answer means that only the file's format was wrong. So does
// ENOENT from a binfmt_misc with an entry for it, whose emulator would not find a file that is
// named by a descriptor that closes on exec. Ours has a descriptor of its own; a script's
// interpreter has none.
func (e *exec) wrongFormat(errno unix.Errno) bool {
	return errno == unix.ENOEXEC || errno == unix.ENOENT && !e.plan.Script && !e.req.plain()
}

// refused serves the end of an exec, of the emulator or of a twin's loader, that the kernel
// refused.
func (e *exec) refused() error {
	regs, err := e.t.Registers()
	if err != nil {
		return err
	}
	if regs.Interrupted() {
		return tracee.ErrInterrupted
	}
	if e.plan.Twin != nil {
		return e.withoutTwin(unix.Errno(-regs.Result()))
	}
	return e.failed(regs.Result())
}

// load serves the tracee with its new program, whose stack is as execve left it.
func (e *exec) load() error {
	t := e.t
	if lender := e.s.tasks[t.lender]; lender != nil {
		e.giveBack(lender)
	}
	if err := e.executes(); err != nil {
		return e.end(err)
	}
	e.s.settle(e.guest)
	t.runs(e.guest)
	e.guest = nil
	e.s.execed(t, e)
	e.phase = loaded
	return t.ToSyscall(0)
}

// arrange puts the emulator's arguments on its new stack and gives the process its name. If that
// fails, the process must not run.
func (e *exec) arrange() error {
	t := e.t
	regs, err := t.Registers()
	if err != nil {
		return err
	}
	new, err := e.newStack(*regs.SP())
	if err == nil {
		err = t.Write(new.SP, new.Bytes)
	}
	if err != nil {
		return e.end(err)
	}
	if twin := e.plan.Twin; twin != nil {
		e.s.spoof.TellVDSO(t) // it is a native program
		e.s.debug(t.TID(), "exec %s: twin %s", e.name, twin.File)
	} else {
		e.s.debug(t.TID(), "exec %s: %s %s", e.name, e.emulator.Path, e.plan.File.Path)
	}
	*regs.SP() = new.SP
	if err := e.rename(regs, new); err != nil {
		return err
	}
	regs.Finished()
	if err := t.SetRegisters(regs); err != nil {
		return err
	}
	return e.through()
}

func (e *exec) newStack(sp uint64) (stack.Rewritten, error) {
	t := e.t
	old, err := stack.Read(sp, t)
	if err == nil {
		err = e.unchanged(old)
	}
	if err != nil {
		return stack.Rewritten{}, err
	}
	var lists stack.Lists
	if e.plan.Twin != nil {
		lists, err = old.ForTwin(e.plan, t)
	} else {
		e.s.showPreloads(t, old, e.plan.ABI, false)
		lists, err = old.ForEmulator(e.plan, e.emulator.Emulator, cmp.Or(e.s.config.Release, e.s.config.Identity.Release), t)
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

// through ends the exec, in whatever phase, and lets the tracee go on. It delivers the signals
// that were held, and makes up for what came meanwhile.
func (e *exec) through() error {
	e.Drop()
	e.t.Release()
	return e.t.Continue(0)
}
