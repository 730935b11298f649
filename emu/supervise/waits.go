package supervise

import (
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"binproxy/emu/supervise/tracee"
)

// A process that is not traced never notices a signal that it ignores. A traced one is woken by
// it, since its tracer may want to know (kernel/signal.c, sig_ignored). Most calls then start anew
// by themselves; those that signal(7) says are never restarted end with EINTR, which nothing in
// the program accounts for. They are told to start anew here. That begins their timeout anew as
// well, so what is left of it is kept an eye on.

// waiting is a call that was made to start anew.
type waiting struct {
	s           *supervisor
	t           *task
	call        tracee.Wait
	first, last time.Time // of its interruptions
}

// ToEnd is not asked for.
func (w *waiting) ToEnd() bool { return false }

// Drop has nothing to give up.
func (w *waiting) Drop() {}

// Stop is the tracee about to be given another signal.
func (w *waiting) Stop(stop tracee.Stop) (tracee.Outcome, error) {
	if stop.Kind != tracee.Signal {
		return tracee.Foreign, nil
	}
	goes, err := w.interrupted(stop.Signal)
	if !goes {
		return tracee.Over, err
	}
	return tracee.More, err
}

// signalStop is a tracee about to be given a signal. Perhaps that has interrupted a call.
func (s *supervisor) signalStop(t *task, signal unix.Signal) error {
	s.noteFatal(t, signal, false)
	return s.deliver(t, signal)
}

// deliver lets a tracee go on with a signal, or with none after we have interrupted it.
func (s *supervisor) deliver(t *task, signal unix.Signal) error {
	if t.call != nil {
		return t.resume(signal)
	}
	w := waiting{s: s, t: t}
	goes, err := w.interrupted(signal)
	if goes {
		kept := w
		t.call = &kept
	}
	return err
}

// interrupted has a call that an ignored signal has interrupted start anew, and reports whether it
// goes on so.
func (w *waiting) interrupted(signal unix.Signal) (goes bool, err error) {
	t := w.t
	regs, err := t.Registers()
	if err != nil {
		return false, err
	}
	if regs.Result() == -int64(unix.EINTR) {
		if call, ok := regs.Wait(t); ok && w.s.ignores(t, signal) {
			if w.over(call, time.Now()) {
				regs.SetResult(call.Expired)
			} else {
				regs.Restart()
				goes = true
			}
			if err := t.SetRegisters(regs); err != nil {
				return false, err
			}
		}
	}
	return goes, t.Continue(signal)
}

// over notes an interruption of a call, and reports whether its timeout is over. A call that began
// before its first interruption lasts up to twice as long for it.
func (w *waiting) over(call tracee.Wait, now time.Time) bool {
	if w.call != call || call.Timeout >= 0 && now.Sub(w.last) > call.Timeout {
		w.call, w.first = call, now
	}
	w.last = now
	return call.Timeout >= 0 && now.Sub(w.first) >= call.Timeout
}

// ignores reports whether a signal does nothing to a tracee. 0 is none: we have interrupted it.
func (s *supervisor) ignores(t *task, signal unix.Signal) bool {
	if signal == 0 {
		return true
	}
	// Where it cannot be read every signal is caught.
	status, _ := s.sight.Status(strconv.Itoa(t.TID()))
	bit := uint64(1) << (signal - 1)
	switch signal {
	case unix.SIGCHLD, unix.SIGCONT, unix.SIGURG, unix.SIGWINCH:
		return status.Caught&bit == 0
	}
	return status.Ignored&bit != 0
}
