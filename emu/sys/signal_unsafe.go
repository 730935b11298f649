package sys

import (
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// action64 is the kernel's struct sigaction on 64-bit hosts
// (linux/arch/*/include/uapi/asm/signal.h).
type action64 struct {
	handler, flags uint64
	rest           [6]uint64
}

// TraceQuietly prepares the process for a tracer's many waits, for the rest of its life. The
// kernel sends no SIGCHLD for the stops, and the Go runtime's preemption signal ends a wait (see
// Wait) instead of letting the kernel restart it.
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

// synchronous are the signals that the Go runtime keeps: what a thread's own instructions raise.
const synchronous = 1<<(unix.SIGILL-1) | 1<<(unix.SIGTRAP-1) | 1<<(unix.SIGABRT-1) | 1<<(unix.SIGBUS-1) |
	1<<(unix.SIGFPE-1) | 1<<(unix.SIGSEGV-1) | 1<<(unix.SIGSYS-1)

// DefaultSignals gives the signals that come from outside their default action, for a process that
// is about to exec.
//
// The Go runtime has handlers for them, and while a tracer has stopped the thread that execs,
// another one takes a signal. If that is still in its handler when the exec ends it, the signal is
// lost. The kernel's own action cannot be cut short so.
func DefaultSignals() {
	const fixed = 1<<(unix.SIGKILL-1) | 1<<(unix.SIGSTOP-1)
	for s := unix.Signal(1); s < 32; s++ {
		if (synchronous|fixed|ignored)&(1<<(s-1)) == 0 {
			_ = sigaction(s, &action64{}, nil)
		}
	}
}

// Die ends the process by a signal, without a core. It returns only in the first process of a PID
// namespace, to which the kernel gives no signal of its own.
func Die(signal unix.Signal) {
	runtime.LockOSThread()
	// Unlike a limit of 0, this also keeps a core from a program that the kernel starts for it.
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	_ = sigaction(signal, &action64{}, nil)
	_ = unix.PthreadSigmask(unix.SIG_SETMASK, new(unix.Sigset_t), nil)
	_ = unix.Tgkill(unix.Getpid(), unix.Gettid(), signal)
}
