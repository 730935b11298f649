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
	t.held, t.stopped, t.interrupt, t.passed = false, false, false, 0
}

// maxMeanwhile bounds the stops that are passed over in one change: whoever sends SIGSTOP without
// end must not keep the tracer with this thread.
const maxMeanwhile = 1000

// meanwhile takes note of a stop in the middle of a change. Signals are held then: what comes is
// death, or another thread's exec, which are left for the loop; SIGSTOP, or the group-stop that
// another thread took part in, which Release makes up for; and what the thread's own filter has to
// say to the call that it is made to make. Everything else means that the thread is not where it
// was put, as a fault does, which holding does not keep away.
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

// lost ends a process of which a thread does not do what it is made to do.
func (t *Thread) lost(what string, args ...any) error {
	t.Kill()
	return fmt.Errorf("%w: it %s in the middle of an exec, and was killed", unix.ESRCH, fmt.Sprintf(what, args...))
}
