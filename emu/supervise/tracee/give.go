package tracee

import (
	"errors"

	"golang.org/x/sys/unix"

	"binproxy/emu/sys"
)

// Where says how far a thread is in its call.
type Where int

// A thread is stopped in one of two places.
const (
	Entering Where = iota // about to start it, in a seccomp-stop
	Leaving               // at its end, in a syscall-stop
)

// ErrInterrupted means that a signal that cannot be blocked (SIGSTOP) took a thread out of a call
// for help. Its own call must start again.
var ErrInterrupted = errors.New("interrupted")

// File is a descriptor of ours for a thread.
type File struct {
	FD          int
	CloseOnExec bool
	Number      int // its number there, once it has it; negative before
}

// Pass makes the call that the registers describe, one of Execs. The filter does not stop this
// call; the answer of the thread's own filter shows at its end.
func (t *Thread) Pass(abi *ABI, r *Registers) {
	*r.Arg(abi, cookieArg) = abi.word(pass(t.tracer.Cookie))
}

// GiveError is the errno that kept a descriptor from being given (EMFILE), or with which the
// thread's own filter answered the call for help.
type GiveError struct{ Errno unix.Errno }

func (e *GiveError) Error() string { return "hand over a descriptor: " + e.Errno.Error() }

// Give puts files into the thread, by its filter's listener (SECCOMP_IOCTL_NOTIF_ADDFD). It ends
// in a syscall-stop, also with a GiveError; the caller must set the registers.
func (t *Thread) Give(call *Call, r Registers, from Where, files []File) error {
	listener, err := t.tracer.Listener()
	if err != nil {
		return err
	}
	if err := t.callForHelp(call, r, from); err != nil {
		return err
	}
	id, err := t.notification(listener)
	if err != nil {
		return err
	}
	errno := add(listener, id, files)
	if err := sys.AnswerNotification(listener, id, 0, errno); err != nil && err != unix.ENOENT {
		return err
	}
	if err := t.syscallStop(); err != nil {
		return err
	}
	if errno != 0 {
		return &GiveError{errno}
	}
	return nil
}

func add(listener int, id uint64, files []File) unix.Errno {
	for i := range files {
		f := &files[i]
		number, err := sys.GiveDescriptor(listener, id, f.FD, f.CloseOnExec)
		if err != nil {
			return sys.Errno(err)
		}
		f.Number = number
	}
	return 0
}

// callForHelp makes the thread call for help, by the call that it is making. The thread then waits
// for the listener.
func (t *Thread) callForHelp(call *Call, r Registers, from Where) error {
	*r.Arg(call.ABI, cookieArg) = call.word(t.tracer.Cookie)
	if from == Leaving {
		r.Again(uint64(call.Nr))
		if err := r.set(t.tid); err != nil {
			return err
		}
		if err := t.Finish(); err != nil {
			return err
		}
	} else if err := t.Begin(r, uint64(call.Nr)); err != nil {
		return err
	}
	return t.ToSyscall(0)
}

// notification waits for the thread's call for help. If the thread is killed before it gets there,
// waitpid says so.
func (t *Thread) notification(listener int) (uint64, error) {
	const patience = 5 // milliseconds
	for {
		called, err := sys.Readable(listener, patience)
		if err != nil {
			return 0, err
		}
		if called {
			call, err := sys.ReceiveNotification(listener)
			switch {
			case err == unix.ENOENT: // it was just killed
			case err != nil:
				return 0, err
			case call.TID == t.tid:
				return call.ID, nil
			default:
				// It belongs to another thread, which invented the cookie.
				_ = sys.AnswerNotification(listener, call.ID, 0, unix.ENOSYS)
			}
		}
		stop, err := t.tracer.look(t.tid)
		switch {
		case err != nil:
			return 0, err
		case stop.TID == 0:
		case stop.Kind == Syscall:
			return 0, t.unheard()
		default:
			if err := t.meanwhile(stop); err != nil {
				return 0, err
			}
		}
	}
}

// restart is the kernel's ERESTARTSYS: a signal ended the wait for the listener.
const restart = 512

// unheard says why a call for help ended without reaching the listener.
func (t *Thread) unheard() error {
	r, err := t.Registers()
	switch {
	case err != nil:
		return err
	case r.Result() == -restart:
		return ErrInterrupted
	case r.Result() < 0:
		return &GiveError{unix.Errno(-r.Result())}
	}
	return t.lost("ended a call for help")
}
