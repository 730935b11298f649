//go:build !amd64

package sys

import "syscall"

// CallI386 answers ENOSYS: this architecture has no i386 ABI.
func CallI386(uint32, [6]uint32) (uintptr, syscall.Errno) { return 0, syscall.ENOSYS }
