//go:build amd64

package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Registers reads the registers of a stopped tracee in the layout of a 64-bit program, whatever it is (PTRACE_GETREGS;
// PTRACE_GETREGSET, which x/sys takes, gives those of a 32-bit program in a layout of their own).
func Registers(tid int, regs *unix.PtraceRegs) error {
	return ptrace(unix.PTRACE_GETREGS, tid, 0, uintptr(unsafe.Pointer(regs)))
}

// SetRegisters writes them.
func SetRegisters(tid int, regs *unix.PtraceRegs) error {
	return ptrace(unix.PTRACE_SETREGS, tid, 0, uintptr(unsafe.Pointer(regs)))
}
