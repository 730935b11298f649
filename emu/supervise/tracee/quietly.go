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

// Hold has its signals wait, until Release. Those that nobody can block are passed over: see
// meanwhile.
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

// Release lets its signals through again, and makes up for the stops that were passed over.
//
// SIGSTOP goes to this very thread (tkill): it was this one's, about to be delivered. One for the
// process (kill) another thread would take, since the kernel passes over those that are stopped by
// a tracer (kernel/signal.c, wants_signal), and this one would run on in its program until that
// one has stopped it.
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
	t.held, t.stopped, t.interrupt = false, false, false
}

// meanwhile takes note of a stop in the middle of a change. Signals are held then: what comes is
// death, which is left for the loop, and SIGSTOP or the group-stop that another thread took part
// in, which Release makes up for. Any other signal is a fault: what the thread was made to do
// leads nowhere, and would do so for ever.
func (t *Thread) meanwhile(stop Stop) error {
	switch stop.Kind {
	case Ended, Exec: // by exec another thread has taken its number over
		t.tracer.kept = append(t.tracer.kept, stop)
		return unix.ESRCH
	case Group:
		t.interrupt = true
	case Signal:
		if stop.Signal != unix.SIGSTOP {
			t.Kill()
			return fmt.Errorf("%w: %v in a call that it was made to make", unix.ESRCH, stop.Signal)
		}
		t.stopped = true
	}
	return t.ToSyscall(0)
}
