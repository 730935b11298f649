// Package tracee is one stopped thread of a traced process: its registers, its memory, and the
// system calls that it is made to make. No other room of the supervisor knows ptrace(2).
//
// A thread is made to make a call in three ways. In a seccomp-stop the thread has not made its own
// call yet; the tracer changes that call's number and arguments (Instead). At the end of a call,
// in a syscall-stop, the tracer takes the thread back to the call instruction with other registers
// (CallAt). No call gives a process another's descriptor, so for that the thread calls for help
// (Give): it makes its call with a cookie in an argument that the call does not have, the filter
// hands the call to its listener, and the listener puts the descriptor in. Signals wait meanwhile
// (Quietly), so that between two stops the thread does only what it is made to do.
package tracee

import (
	"errors"

	"golang.org/x/sys/unix"

	"binproxy/emu/sys"
)

// Thread is a traced thread. Every method but Become requires that it is stopped.
type Thread struct {
	tid    int
	tracer *Tracer

	held      bool
	mask      uint64 // the signals that it blocks itself
	stopped   bool   // it got SIGSTOP while they were held
	interrupt bool   // it was to take part in a group-stop meanwhile
	passed    int    // how many stops were skipped meanwhile
}

// Gone reports whether a call failed because the thread is gone: it may be killed at any moment.
func Gone(err error) bool { return sys.Gone(err) }

// TID is its number.
func (t *Thread) TID() int { return t.tid }

// Become gives it its group leader's number, which a thread takes over in execve.
func (t *Thread) Become(tid int) { t.tid = tid }

// Continue lets it run, and delivers the signal to it (0 for none).
func (t *Thread) Continue(signal unix.Signal) error { return sys.Continue(t.tid, signal) }

// ToSyscall is Continue up to its next syscall-stop.
func (t *Thread) ToSyscall(signal unix.Signal) error { return sys.ContinueToSyscall(t.tid, signal) }

// Listen leaves it in its group-stop, which SIGCONT may then end.
func (t *Thread) Listen() error { return sys.Listen(t.tid) }

// Interrupt stops it if it runs.
func (t *Thread) Interrupt() { _ = sys.Interrupt(t.tid) }

// Detach lets it go on without us.
func (t *Thread) Detach() error { return sys.Unseize(t.tid) }

// Message is what the kernel says about its stop: the filter's data, or the number of a new thread
// or of a former one.
func (t *Thread) Message() (uint, error) { return sys.EventMessage(t.tid) }

// Kill ends its process.
func (t *Thread) Kill() { _ = sys.Kill(t.tid, unix.SIGKILL) }

// Registers are its registers.
func (t *Thread) Registers() (Registers, error) {
	var r Registers
	err := r.get(t.tid)
	return r, err
}

// Again takes the registers of a call back to its instruction, to make the call nr there.
func (r *Registers) Again(nr uint64) { r.callAt(r.Instruction(), nr) }

// SetRegisters changes its registers.
func (t *Thread) SetRegisters(r Registers) error { return r.set(t.tid) }

// Begin changes the call that it is about to make to nr, with the arguments in the registers.
func (t *Thread) Begin(r Registers, nr uint64) error {
	if err := r.replace(t.tid, nr); err != nil {
		return err
	}
	return r.set(t.tid)
}

// Skip ends the call that it is about to make with a result; the kernel does not make it.
func (t *Thread) Skip(r Registers, result int64) error {
	if err := r.skip(t.tid, result); err != nil {
		return err
	}
	return r.set(t.tid)
}

// Instead makes it make another call in place of the one that it is about to make, up to the end
// of the call, and returns the result.
func (t *Thread) Instead(abi *ABI, r Registers, nr, a, b uint64) (int64, error) {
	*r.Arg(abi, 0), *r.Arg(abi, 1) = a, b
	if err := t.Begin(r, nr); err != nil {
		return 0, err
	}
	return t.outcome()
}

// CallAt, at the end of a call, makes it make another by the call instruction at ip, and returns
// the result. The caller must set the registers afterwards.
func (t *Thread) CallAt(abi *ABI, r Registers, ip, nr, a, b uint64) (int64, error) {
	*r.Arg(abi, 0), *r.Arg(abi, 1) = a, b
	r.callAt(ip, nr)
	if err := r.set(t.tid); err != nil {
		return 0, err
	}
	if err := t.Finish(); err != nil {
		return 0, err
	}
	return t.outcome()
}

// WhileDumpable does something to it, at the end of a call, that requires it to be dumpable.
// PR_GET_DUMPABLE has returned what it was. Other tracees that could look at it are stopped
// meanwhile.
func (t *Thread) WhileDumpable(abi *ABI, r Registers, was int64, do func() error) error {
	if was == 1 {
		return do()
	}
	set := func(value uint64) error {
		_, err := t.CallAt(abi, r, r.Instruction(), abi.Prctl, unix.PR_SET_DUMPABLE, value)
		return err
	}
	t.tracer.halt(t.tracer.Witnesses(t.tid))
	if err := set(1); err != nil {
		return err
	}
	return errors.Join(do(), set(0))
}

// outcome lets it finish its call, and returns the result.
func (t *Thread) outcome() (int64, error) {
	if err := t.Finish(); err != nil {
		return 0, err
	}
	r, err := t.Registers()
	return r.Result(), err
}

// Finish lets it run to its next syscall-stop. Calls that are waited for like this do not block.
func (t *Thread) Finish() error {
	if err := t.ToSyscall(0); err != nil {
		return err
	}
	return t.syscallStop()
}

// syscallStop waits for its next syscall-stop.
func (t *Thread) syscallStop() error {
	for {
		stop, err := t.tracer.waitFor(t.tid)
		if err != nil {
			return err
		}
		if stop.Kind == Syscall {
			return nil
		}
		if err := t.meanwhile(stop); err != nil {
			return err
		}
	}
}
