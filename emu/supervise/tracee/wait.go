package tracee

import (
	"encoding/binary"
	"time"
)

// Wait describes a call that a signal has interrupted and that the kernel does not restart. By it
// such a call is recognised when it is made again.
type Wait struct {
	IP, SP, Nr uint64
	Args       [4]uint64
	Timeout    time.Duration // negative: none
	Expired    int64         // the result when the timeout is over
	Option     int           // where Timeout is a socket's: SO_RCVTIMEO or SO_SNDTIMEO; else 0
}

// restartNoHandler is the kernel's ERESTARTNOHAND: the call restarts, unless a handler runs
// before; then it ends with EINTR.
const restartNoHandler = 514

// restartNoInterrupt is the kernel's ERESTARTNOINTR: the call restarts in any case.
const restartNoInterrupt = 513

// Interrupted reports whether the kernel would restart the call. It does so for an exec that was
// interrupted while another thread of its process made one.
func (r *Registers) Interrupted() bool { return r.Result() == -restartNoInterrupt }

// Restart restarts an interrupted call, unless a handler runs.
func (r *Registers) Restart() { r.SetResult(-restartNoHandler) }

// reader reads the memory that a call's arguments point to.
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
