package tracee

import (
	"encoding/binary"
	"time"
)

// Wait is a call that a signal has interrupted and that the kernel does not start anew. It lets a
// call that is made anew be recognised.
type Wait struct {
	IP, SP, Nr uint64
	Args       [4]uint64
	Timeout    time.Duration // negative: none
	Expired    int64         // the result when the timeout is over
}

// restartNoHandler is the kernel's ERESTARTNOHAND: the call starts anew, unless a handler runs
// before; then it ends with EINTR.
const restartNoHandler = 514

// restartNoInterrupt is the kernel's ERESTARTNOINTR: the call starts anew, whatever happens.
const restartNoInterrupt = 513

// Interrupted reports whether the kernel would have the call start anew: an exec does that which
// was interrupted while another thread of its process made one.
func (r *Registers) Interrupted() bool { return r.Result() == -restartNoInterrupt }

// Restart has an interrupted call start anew, unless a handler runs.
func (r *Registers) Restart() { r.SetResult(-restartNoHandler) }

// reader is what a call's arguments point into.
type reader interface {
	Read(addr uint64, b []byte) error
}

// timespec reads a 64-bit struct timespec, of which 0 means no end.
func timespec(m reader, addr uint64) (time.Duration, error) {
	if addr == 0 {
		return -1, nil
	}
	var b [16]byte
	if err := m.Read(addr, b[:]); err != nil {
		return 0, err
	}
	seconds, nanoseconds := binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint64(b[8:])
	if seconds > 1<<32 {
		return -1, nil
	}
	return time.Duration(seconds)*time.Second + time.Duration(nanoseconds), nil
}
