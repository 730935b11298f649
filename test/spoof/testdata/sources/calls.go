package main

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

const newUname = unix.SYS_UNAME

func caller(nr uintptr) func([]byte) error {
	return func(b []byte) error {
		if _, _, errno := unix.Syscall(nr, uintptr(unsafe.Pointer(&b[0])), 0, 0); errno != 0 {
			return errno
		}
		return nil
	}
}

// unameCall is a variant of uname, with the size of its fields.
type unameCall struct {
	name string
	size int
	call func([]byte) error
}
