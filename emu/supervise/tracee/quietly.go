package tracee

import (
	"fmt"

	"golang.org/x/sys/unix"

	"binproxy/emu/sys"
)

// Quietly does something to the thread that lets it run for a moment, while its signals wait.
func (t *Thread) Quietly(do func() error) error {
	if err := t.Hold(); err != nil {
		return err
	}
	defer t.Release()
	return do()
}

// Hold makes its signals wait, until Release. For those that nobody can block, see meanwhile.
func (t *Thread) Hold() error {
	if t.held {
		return nil
	}
	var err error
	if t.mask, err = sys.Blocked(t.tid); err != nil {
		return err
	}
	t.held = true
	return sys.SetBlocked(t.tid, ^uint64(0))
}

// Release lets its signals through again, and makes up for the stops that were skipped.
//
// SIGSTOP goes to this very thread (tkill), to which it was about to be delivered. If it went to
// the process (kill), another thread would take it, since the kernel skips threads that a tracer
// has stopped (kernel/signal.c, wants_signal). This thread would then run on in its program until
// that one has stopped it.
func (t *Thread) Release() {
	if t.held {
		_ = sys.SetBlocked(t.tid, t.mask)
	}
	if t.stopped {
		_ = sys.SendThread(t.tid, unix.SIGSTOP)
	}
	if t.interrupt {
		_ = sys.Interrupt(t.tid)
	}
	t.held, t.stopped, t.interrupt, t.passed = false, false, false, 0
}

// maxMeanwhile limits the stops that are skipped in one change: a process that sends SIGSTOP
// without end must not keep the tracer busy with this thread.
const maxMeanwhile = 1000

// meanwhile records a stop in the middle of a change. Signals are held then, so what can come is
// the end of the thread or another thread's exec, which the loop handles; SIGSTOP, or a group-stop
// that another thread took part in, which Release makes up for; and what the thread's own filter
// says to the call that it is made to make. Any other stop means that the thread is not where the
// tracer put it, as after a fault, which holding signals does not prevent.
func (t *Thread) meanwhile(stop Stop) error {
	if t.passed++; t.passed > maxMeanwhile {
		return t.lost("was stopped %d times", maxMeanwhile)
	}
	switch {
	case stop.Kind == Ended, stop.Kind == Exec:
		t.tracer.kept = append(t.tracer.kept, stop)
		return unix.ESRCH
	case stop.Kind == Group:
		t.interrupt = true
	case stop.Kind == Signal && stop.Signal == unix.SIGSTOP:
		t.stopped = true
	case stop.Kind == Seccomp, stop.Kind == Signal && stop.Signal == unix.SIGSYS:
	default:
		return t.lost("got %v", stop.Signal)
	}
	return t.ToSyscall(0)
}

// lost ends a process if one of its threads does not do what it is made to do.
func (t *Thread) lost(what string, args ...any) error {
	t.Kill()
	return fmt.Errorf("%w: it %s in the middle of an exec, and was killed", unix.ESRCH, fmt.Sprintf(what, args...))
}
