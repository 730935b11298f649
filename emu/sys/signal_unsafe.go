package sys

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// action64 is the kernel's struct sigaction as 64-bit hosts have it
// (linux/arch/*/include/uapi/asm/signal.h).
type action64 struct {
	handler, flags uint64
	rest           [6]uint64
}

// TraceQuietly readies the process for a tracer's many waits, for the rest of its life: the kernel
// sends no SIGCHLD for the stops, and the Go runtime's preemption signal ends a wait (see Wait)
// instead of letting the kernel restart it.
func TraceQuietly() error {
	if err := sigaction(unix.SIGCHLD, &action64{}, nil); err != nil {
		return err
	}
	var a action64
	if err := sigaction(unix.SIGURG, nil, &a); err != nil {
		return err
	}
	a.flags &^= saRestart
	return sigaction(unix.SIGURG, &a, nil)
}

const saRestart = 0x10000000

func sigaction(signal unix.Signal, act, old *action64) error {
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(signal), uintptr(unsafe.Pointer(act)), uintptr(unsafe.Pointer(old)), sigsetSize, 0, 0)
	if errno != 0 {
		return os.NewSyscallError("rt_sigaction", errno)
	}
	return nil
}
