package sys

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

const sigsetSize = 8 // the kernel's sigset_t

func ptrace(request, tid int, addr, data uintptr) error {
	_, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, uintptr(request), uintptr(tid), addr, data, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

func waitUnheard(tid int) (s Stop, err error) {
	var status uint32
	r, _, errno := unix.RawSyscall6(unix.SYS_WAIT4, uintptr(tid), uintptr(unsafe.Pointer(&status)), unix.WALL, 0, 0, 0)
	if errno != 0 {
		return s, errno
	}
	return Stop{int(r), unix.WaitStatus(status)}, nil
}

// Blocked is the set of signals that a stopped tracee blocks: bit N-1 for signal N.
func Blocked(tid int) (mask uint64, err error) {
	err = ptrace(unix.PTRACE_GETSIGMASK, tid, sigsetSize, uintptr(unsafe.Pointer(&mask)))
	return mask, err
}

// SetBlocked sets that set.
func SetBlocked(tid int, mask uint64) error {
	return ptrace(unix.PTRACE_SETSIGMASK, tid, sigsetSize, uintptr(unsafe.Pointer(&mask)))
}

// ReadProcess reads another process's memory in one call (process_vm_readv). It may read less than
// asked, up to a missing page.
func ReadProcess(pid int, addr uint64, b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	local := []unix.Iovec{{Base: &b[0]}}
	local[0].SetLen(len(b))
	return unix.ProcessVMReadv(pid, local, []unix.RemoteIovec{{Base: uintptr(addr), Len: len(b)}}, 0)
}

// WriteProcess writes another process's memory (process_vm_writev).
func WriteProcess(pid int, addr uint64, b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	local := []unix.Iovec{{Base: &b[0]}}
	local[0].SetLen(len(b))
	return unix.ProcessVMWritev(pid, local, []unix.RemoteIovec{{Base: uintptr(addr), Len: len(b)}}, 0)
}

// Peek reads a stopped tracee's memory word by word, and Poke writes it. They are slow, but no
// filter or missing capability stops them.
func Peek(tid int, addr uint64, b []byte) (int, error) {
	return unix.PtracePeekData(tid, uintptr(addr), b)
}

// Poke is Peek's counterpart.
func Poke(tid int, addr uint64, b []byte) (int, error) {
	return unix.PtracePokeData(tid, uintptr(addr), b)
}

// The values of SyscallStop.Op (linux/ptrace.h, PTRACE_SYSCALL_INFO_*).
const (
	SyscallEntry = 1
	SyscallExit  = 2
)

// SyscallStop is the kernel's report on a stopped tracee (struct ptrace_syscall_info): at an entry
// Nr and Args, at an exit Result.
type SyscallStop struct {
	Op     uint8
	Arch   uint32 // AUDIT_ARCH
	Nr     uint64
	Result int64
}

// GetSyscallStop asks which call a stopped tracee is in (PTRACE_GET_SYSCALL_INFO, Linux 5.3).
func GetSyscallStop(pid int) (SyscallStop, error) {
	var raw struct {
		op     uint8
		_      [3]uint8
		arch   uint32
		ip, sp uint64
		first  uint64 // nr at an entry, the result at an exit
		rest   [7]uint64
	}
	_, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_GET_SYSCALL_INFO, uintptr(pid), unsafe.Sizeof(raw), uintptr(unsafe.Pointer(&raw)), 0, 0)
	if errno != 0 {
		return SyscallStop{}, fmt.Errorf("ptrace process %d: which call it is in (PTRACE_GET_SYSCALL_INFO, since Linux 5.3): %w", pid, errno)
	}
	s := SyscallStop{Op: raw.op, Arch: raw.arch}
	switch raw.op {
	case SyscallEntry:
		s.Nr = raw.first
	case SyscallExit:
		s.Result = int64(raw.first)
	}
	return s, nil
}
