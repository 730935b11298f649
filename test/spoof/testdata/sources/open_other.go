//go:build !arm64

package main

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

func open(path string) (int, error) {
	p, err := unix.BytePtrFromString(path)
	if err != nil {
		return -1, err
	}
	fd, _, errno := unix.Syscall(unix.SYS_OPEN, uintptr(unsafe.Pointer(p)), unix.O_RDONLY, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}
