package supervise

import (
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"binproxy/emu/supervise/tracee"
	"binproxy/emu/sys"
)

// A process that is not traced never notices a signal that it ignores. The same signal wakes a
// traced process, since its tracer may want to know (kernel/signal.c, sig_ignored). Most calls
// then restart by themselves; the ones that signal(7) lists as never restarted, among them all of
// a socket with a timeout, end with EINTR, which the program does not expect. The supervisor
// restarts them here. That also restarts their
// timeout, so it keeps track of the time that is left.

// waiting is a call that the supervisor restarted.
type waiting struct {
	s           *supervisor
	t           *task
	call        tracee.Wait
	first, last time.Time // of its interruptions
}

// ToEnd is always false.
func (w *waiting) ToEnd() bool { return false }

// Drop has nothing to release.
func (w *waiting) Drop() {}

// Stop serves the tracee when it is about to get another signal.
func (w *waiting) Stop(stop tracee.Stop) (tracee.Outcome, error) {
	if stop.Kind != tracee.Signal {
		return tracee.Foreign, nil
	}
	if goes, err := w.s.completes(w.t, stop.Signal); goes {
		return tracee.More, err
	}
	goes, err := w.interrupted(stop.Signal)
	if !goes {
		return tracee.Over, err
	}
	return tracee.More, err
}

// signalStop serves a tracee about to get a signal, which may have interrupted a call.
func (s *supervisor) signalStop(t *task, signal unix.Signal) error {
	s.noteFatal(t, signal, false)
	return s.deliver(t, signal)
}

// deliver lets a tracee go on with a signal, or with none if we interrupted it.
func (s *supervisor) deliver(t *task, signal unix.Signal) error {
	if t.call != nil {
		return t.resume(signal)
	}
	if goes, err := s.completes(t, signal); goes {
		return err
	}
	w := waiting{s: s, t: t}
	goes, err := w.interrupted(signal)
	if goes {
		kept := w
		t.call = &kept
	}
	return err
}

// interrupted restarts a call that an ignored signal has interrupted, and reports whether it did.
func (w *waiting) interrupted(signal unix.Signal) (goes bool, err error) {
	t := w.t
	regs, err := t.Registers()
	if err != nil {
		return false, err
	}
	if regs.Result() == -int64(unix.EINTR) {
		if call, ok := regs.Wait(t); ok && w.s.ignores(t, signal) {
			if call.Option != 0 {
				w.s.socketTimeout(t, regs.FD(), &call)
			}
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

// unknownTimeout is how long a call is restarted whose timeout we may not read.
const unknownTimeout = time.Minute

// socketTimeout completes a call with its socket's timeout.
func (s *supervisor) socketTimeout(t *task, fd int, call *tracee.Wait) {
	status, _ := s.sight.Status(strconv.Itoa(t.TID()))
	timeout, err := sys.SocketTimeout(status.Group, fd, call.Option)
	switch {
	case err != nil:
		call.Timeout, call.Expired = unknownTimeout, -int64(unix.EINTR)
	case timeout > 0:
		call.Timeout = timeout
	}
}

// over records an interruption of a call, and reports whether the call's timeout is over. The time
// before the first interruption is not counted, so a call may last up to twice as long.
func (w *waiting) over(call tracee.Wait, now time.Time) bool {
	if w.call != call || call.Timeout >= 0 && now.Sub(w.last) > call.Timeout {
		w.call, w.first = call, now
	}
	w.last = now
	return call.Timeout >= 0 && now.Sub(w.first) >= call.Timeout
}

// ignores reports whether a signal has no effect on a tracee. 0 means that we interrupted it.
func (s *supervisor) ignores(t *task, signal unix.Signal) bool {
	if signal == 0 {
		return true
	}
	// If it cannot be read, every signal counts as caught.
	status, _ := s.sight.Status(strconv.Itoa(t.TID()))
	bit := uint64(1) << (signal - 1)
	switch signal {
	case unix.SIGCHLD, unix.SIGCONT, unix.SIGURG, unix.SIGWINCH:
		return status.Caught&bit == 0
	}
	return status.Ignored&bit != 0
}
