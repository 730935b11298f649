package sys

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Call makes a system call by its number, without telling the Go scheduler: it must not block.
func Call(nr uintptr, a [6]uintptr) (uintptr, syscall.Errno) {
	r, _, errno := unix.RawSyscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5])
	return r, errno
}

// CallWaiting is Call for a call that may wait: the Go scheduler gives the processor to others.
func CallWaiting(nr uintptr, a [6]uintptr) (uintptr, syscall.Errno) {
	r, _, errno := unix.Syscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5])
	return r, errno
}

// CallFork makes a call that forks. The child has ended when it returns.
func CallFork(fork func() (uintptr, syscall.Errno)) syscall.Errno {
	r, errno := fork()
	if errno != 0 {
		return errno
	}
	if r == 0 {
		unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}
	_, _, _ = WaitChild(int(r), 0)
	return 0
}

// WaitChild is wait4(2). It gives the number and the status of a child that has ended; the number
// -1 means any child. With WNOHANG among the options it gives 0 if none has ended yet.
func WaitChild(pid, options int) (ended int, status unix.WaitStatus, err error) {
	err = Retry(func() error {
		ended, err = unix.Wait4(pid, &status, options, nil)
		return err
	})
	return ended, status, err
}

// Readable waits until a descriptor can be read, or is at its end. It waits at most that many
// milliseconds, unless they are negative.
func Readable(fd, milliseconds int) (bool, error) {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	end := time.Now().Add(time.Duration(milliseconds) * time.Millisecond)
	for {
		n, err := unix.Poll(fds, milliseconds)
		if err != unix.EINTR {
			return n > 0, err
		}
		if milliseconds > 0 {
			milliseconds = max(0, int(time.Until(end).Milliseconds()))
		}
	}
}

// SocketTimeout is the timeout of another process's socket, by SO_RCVTIMEO or SO_SNDTIMEO; 0 is
// none. It takes pidfd_getfd (Linux 5.6), which some seccomp profiles refuse.
func SocketTimeout(pid, fd, option int) (time.Duration, error) {
	process, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(process)
	socket, err := unix.PidfdGetfd(process, fd, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(socket)
	timeout, err := unix.GetsockoptTimeval(socket, unix.SOL_SOCKET, option)
	if err != nil {
		return 0, err
	}
	return time.Duration(timeout.Nano()), nil
}
