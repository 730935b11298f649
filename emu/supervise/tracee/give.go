package tracee

import (
	"errors"

	"golang.org/x/sys/unix"

	"binproxy/emu/sys"
)

// Where is where a thread stands in its call.
type Where int

// A thread is stopped in one of two places.
const (
	Entering Where = iota // about to start it, in a seccomp-stop
	Leaving               // at its end, in a syscall-stop
)

// ErrInterrupted means that a thread was taken out of a call for help by what cannot be blocked
// (SIGSTOP). What it was about to do has to begin anew.
var ErrInterrupted = errors.New("interrupted")

// File is a descriptor of ours that a thread is to be given.
type File struct {
	FD          int
	CloseOnExec bool
	Number      int // its number there, once it has it; else negative
}

// Pass makes the call that the registers describe, which is one of Execs, one that the filter does
// not stop: what the thread's own filter makes of it is seen at its end.
func (t *Thread) Pass(abi *ABI, r *Registers) {
	*r.Arg(abi, cookieArg) = abi.word(pass(t.tracer.Cookie))
}

// GiveError is the errno with which a descriptor could not be given (EMFILE), or with which a
// filter of the thread's own has answered the call for help.
type GiveError struct{ Errno unix.Errno }

func (e *GiveError) Error() string { return "hand over a descriptor: " + e.Errno.Error() }

// Give puts files into the thread, by the listener of its filter (SECCOMP_IOCTL_NOTIF_ADDFD). It
// ends in a syscall-stop, with registers that are the caller's business; so it does with a
// GiveError.
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

// callForHelp makes the thread call for help, by the call that it is making: it then waits for the
// listener.
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

// notification waits for the thread's call for help. If it is killed before it gets there, waitpid
// says so.
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
			case err == unix.ENOENT: // it was killed just now
			case err != nil:
				return 0, err
			case call.TID == t.tid:
				return call.ID, nil
			default:
				// Somebody else's, who made the cookie up.
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

// restart is the kernel's ERESTARTSYS: a signal has ended the wait for the listener.
const restart = 512

// unheard says why a call for help has ended that has not reached the listener.
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
