package sys

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The values of SyscallStop.Op (linux/ptrace.h, PTRACE_SYSCALL_INFO_*).
const (
	SyscallEntry = 1
	SyscallExit  = 2
)

// SyscallStop is what the kernel says of a stopped tracee (struct ptrace_syscall_info): at an entry Nr and Args, at an exit Result.
type SyscallStop struct {
	Op     uint8
	Arch   uint32 // AUDIT_ARCH
	Nr     uint64
	Result int64
}

// GetSyscallStop asks in which call a stopped tracee is (PTRACE_GET_SYSCALL_INFO, Linux 5.3).
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
