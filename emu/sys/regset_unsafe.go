//go:build arm64

package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The register sets that RegisterSet reads.
const (
	RegistersGeneral = 1     // NT_PRSTATUS
	RegistersCall    = 0x404 // NT_ARM_SYSTEM_CALL: the number of the call that is about to start
)

// RegisterSet reads a register set of a stopped tracee, and gives its size in bytes.
func RegisterSet(tid, set int, words []uint64) (int, error) {
	v := unix.Iovec{Base: (*byte)(unsafe.Pointer(&words[0])), Len: uint64(8 * len(words))}
	err := ptrace(unix.PTRACE_GETREGSET, tid, uintptr(set), uintptr(unsafe.Pointer(&v)))
	return int(v.Len), err
}

// SetRegisterSet writes the first size bytes of words as a register set.
func SetRegisterSet(tid, set int, words []uint64, size int) error {
	v := unix.Iovec{Base: (*byte)(unsafe.Pointer(&words[0])), Len: uint64(size)}
	return ptrace(unix.PTRACE_SETREGSET, tid, uintptr(set), uintptr(unsafe.Pointer(&v)))
}
