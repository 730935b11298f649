//go:build !amd64

package sys

import "syscall"

// CallI386 answers ENOSYS: this architecture has no i386 ABI.
func CallI386(uint32) (uint32, syscall.Errno) { return 0, syscall.ENOSYS }
