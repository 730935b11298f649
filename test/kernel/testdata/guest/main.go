// Guest makes calls of several ages with valid arguments, and prints each answer.
package main

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

func main() {
	var u unix.Utsname
	unix.Uname(&u)
	fmt.Println("release", unix.ByteSliceToString(u.Release[:]))
	_, err := unix.Getrandom(make([]byte, 8), 0)
	show("getrandom", err)
	_, err = unix.MemfdCreate("guest", 0)
	show("memfd_create", err)
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	show("pidfd_open", err)
	show("pidfd_send_signal", unix.PidfdSendSignal(max(fd, 0), 0, nil, 0))
	show("close_range", unix.CloseRange(900, 901, 0))
	var st unix.Statx_t
	show("statx", unix.Statx(unix.AT_FDCWD, ".", 0, unix.STATX_ALL, &st))
}

func show(name string, err error) {
	word := "ok"
	if errno, failed := err.(syscall.Errno); failed {
		word = unix.ErrnoName(errno)
	}
	fmt.Println(name, word)
}
