package sys

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// Call makes a system call by its number, without telling the Go scheduler: it must not block.
func Call(nr uintptr, a [6]uintptr) (uintptr, syscall.Errno) {
	r, _, errno := unix.RawSyscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5])
	return r, errno
}

// CallFork makes a call that forks; the child is gone when it returns.
func CallFork(fork func() (uintptr, syscall.Errno)) syscall.Errno {
	r, errno := fork()
	if errno != 0 {
		return errno
	}
	if r == 0 {
		unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}
	retry(func() error { _, err := unix.Wait4(int(r), nil, 0, nil); return err })
	return 0
}
