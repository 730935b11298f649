package sys

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Confine puts a seccomp filter on the calling thread, for good: every program that it executes
// and every child that it starts inherits it. It locks the goroutine to the thread. Without
// CAP_SYS_ADMIN the kernel requires no_new_privs, so Confine sets it: setuid programs then gain
// nothing.
func Confine(program []unix.SockFilter) error {
	runtime.LockOSThread()
	if len(program) == 0 {
		return errors.New("install a seccomp filter: it is empty")
	}
	fprog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	install := func() error {
		return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&fprog)), 0, 0)
	}
	err := install()
	if errors.Is(err, unix.EACCES) {
		if err = unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err == nil {
			err = install()
		}
	}
	runtime.KeepAlive(program)
	switch {
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("install a seccomp filter of %d instructions: %w: the kernel has no CONFIG_SECCOMP_FILTER, or a sandbox keeps it back", len(program), err)
	case err != nil:
		return fmt.Errorf("install a seccomp filter of %d instructions: %w", len(program), err)
	}
	return nil
}
