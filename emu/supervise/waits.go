package supervise

import (
	"bytes"
	"encoding/binary"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"binproxy/emu/sys"
)

// A process that is not traced never notices a signal that it ignores. A traced one is woken by it, since its tracer may want to know
// (kernel/signal.c, sig_ignored). Most calls then start anew by themselves; those that signal(7) says are never restarted end with EINTR, which
// nothing in the program accounts for. They are told to start anew here. That begins their timeout anew as well, so what is left of it is
// kept an eye on.

// restartNoHandler is the kernel's ERESTARTNOHAND: the call starts anew, unless a handler runs before; then it ends with EINTR.
const restartNoHandler = 514

// wait is a call that an ignored signal has interrupted. It lets a call made anew be recognised.
type wait struct {
	ip, sp, nr uint64
	args       [4]uint64
	timeout    time.Duration // negative: none
	expired    int64         // the result when the timeout is over
}

// waited is a wait that was made to start anew.
type waited struct {
	wait
	first, last time.Time // of its interruptions
}

// signalled is a tracee about to be given a signal.
func (s *supervisor) signalled(t *tracee, signal unix.Signal) error {
	if t.exec != nil {
		return nil
	}
	var regs registers
	if err := regs.get(t.tid); err != nil || regs.result() != -int64(unix.EINTR) {
		return err
	}
	w, ok := regs.wait(s.memory(t))
	if !ok || !s.ignores(t, signal) {
		return nil
	}
	if t.waited.over(w, time.Now()) {
		regs.setResult(w.expired)
	} else {
		regs.setResult(-restartNoHandler)
	}
	return regs.set(t.tid)
}

// over notes an interruption of a call, and tells whether its timeout is over. A call that began before its first interruption lasts up to twice as
// long for it.
func (p *waited) over(w wait, now time.Time) bool {
	if p.wait != w || w.timeout >= 0 && now.Sub(p.last) > w.timeout {
		p.wait, p.first = w, now
	}
	p.last = now
	if w.timeout < 0 || now.Sub(p.first) < w.timeout {
		return false
	}
	*p = waited{}
	return true
}

// ignores tells whether a signal does nothing to a tracee.
func (s *supervisor) ignores(t *tracee, signal unix.Signal) bool {
	fd, err := sys.Openat(s.proc, strconv.Itoa(t.tid)+"/status", unix.O_RDONLY)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	n, err := unix.Read(fd, s.status[:])
	if err != nil {
		return false
	}
	ignored, caught := parseSignals(s.status[:n])
	bit := uint64(1) << (signal - 1)
	switch signal {
	case unix.SIGCHLD, unix.SIGCONT, unix.SIGURG, unix.SIGWINCH:
		return caught&bit == 0
	}
	return ignored&bit != 0
}

// parseSignals reads the lines SigIgn and SigCgt of /proc/PID/status. Of a text without them every signal is caught.
func parseSignals(status []byte) (ignored, caught uint64) {
	caught = ^uint64(0)
	for line := range bytes.Lines(status) {
		key, value, _ := bytes.Cut(line, []byte(":"))
		set, err := strconv.ParseUint(string(bytes.TrimSpace(value)), 16, 64)
		switch {
		case err != nil:
		case string(key) == "SigIgn":
			ignored = set
		case string(key) == "SigCgt":
			caught = set
		}
	}
	return ignored, caught
}

// timespec reads a 64-bit struct timespec, of which 0 means no end.
func (m memory) timespec(addr uint64) (time.Duration, error) {
	if addr == 0 {
		return -1, nil
	}
	var b [16]byte
	if err := m.read(addr, b[:]); err != nil {
		return 0, err
	}
	seconds, nanoseconds := binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint64(b[8:])
	if seconds > 1<<32 {
		return -1, nil
	}
	return time.Duration(seconds)*time.Second + time.Duration(nanoseconds), nil
}
