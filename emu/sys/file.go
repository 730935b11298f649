package sys

import (
	"errors"
	"strconv"

	"golang.org/x/sys/unix"
)

// Reopen opens the file that an O_PATH descriptor stands for. self is a descriptor of /proc/self/fd.
func Reopen(self, fd, flags int) (int, error) {
	return unix.Openat(self, strconv.Itoa(fd), flags|unix.O_CLOEXEC, 0)
}

// Access checks a permission on the file that an O_PATH descriptor stands for, by the thread's effective ids; for X_OK that its
// mount lets programs run, too. self is a descriptor of /proc/self/fd.
func Access(self, fd int, mode uint32) error {
	err := unix.Faccessat2(fd, "", mode, unix.AT_EACCESS|unix.AT_EMPTY_PATH)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EINVAL) {
		// Before Linux 5.8, or behind a filter that does not know the call.
		return unix.Faccessat(self, strconv.Itoa(fd), mode, 0)
	}
	return err
}

// Written tells whether anybody has the file open for writing, so that execve would answer ETXTBSY: a read lease is refused then.
// Where no lease can be had the answer is no.
func Written(fd int) bool {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_RDLCK)
	if err == nil {
		_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_UNLCK)
	}
	return errors.Is(err, unix.EAGAIN)
}
