package sys

import "golang.org/x/sys/unix"

// TakenSignal is a signal that TakeSignals caught.
type TakenSignal struct {
	Signal unix.Signal
	Code   int // si_code
	PID    int // the sender's, if Code says that there is one
}

// siKernel is SI_KERNEL of asm-generic/siginfo.h.
const siKernel = 0x80

// FromKernel reports whether the kernel sent the signal, for a terminal or a timer, and not a
// process.
func (s TakenSignal) FromKernel() bool { return s.Code >= siKernel }
