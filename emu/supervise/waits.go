package supervise

import (
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"binproxy/emu/supervise/tracee"
)

// A process that is not traced never notices a signal that it ignores. A traced one is woken by it, since its tracer may want to know
// (kernel/signal.c, sig_ignored). Most calls then start anew by themselves; those that signal(7) says are never restarted end with EINTR, which
// nothing in the program accounts for. They are told to start anew here. That begins their timeout anew as well, so what is left of it is
// kept an eye on.

// waited is a wait that was made to start anew.
type waited struct {
	tracee.Wait
	first, last time.Time // of its interruptions
}

// signalled is a tracee about to be given a signal.
func (s *supervisor) signalled(t *task, signal unix.Signal) error {
	if t.exec != nil {
		return nil
	}
	regs, err := t.Registers()
	if err != nil || regs.Result() != -int64(unix.EINTR) {
		return err
	}
	w, ok := regs.Wait(t)
	if !ok || !s.ignores(t, signal) {
		return nil
	}
	if t.waited.over(w, time.Now()) {
		regs.SetResult(w.Expired)
	} else {
		regs.Restart()
	}
	return t.SetRegisters(regs)
}

// over notes an interruption of a call, and tells whether its timeout is over. A call that began before its first interruption lasts up to twice as
// long for it.
func (p *waited) over(w tracee.Wait, now time.Time) bool {
	if p.Wait != w || w.Timeout >= 0 && now.Sub(p.last) > w.Timeout {
		p.Wait, p.first = w, now
	}
	p.last = now
	if w.Timeout < 0 || now.Sub(p.first) < w.Timeout {
		return false
	}
	*p = waited{}
	return true
}

// ignores reports whether a signal does nothing to a tracee.
func (s *supervisor) ignores(t *task, signal unix.Signal) bool {
	status, _ := s.sight.Status(strconv.Itoa(t.TID())) // every signal is caught where it cannot be read
	bit := uint64(1) << (signal - 1)
	switch signal {
	case unix.SIGCHLD, unix.SIGCONT, unix.SIGURG, unix.SIGWINCH:
		return status.Caught&bit == 0
	}
	return status.Ignored&bit != 0
}
