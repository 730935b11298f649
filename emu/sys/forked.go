package sys

import "golang.org/x/sys/unix"

// ForkName is the argv[0] with which the program becomes two processes before the Go runtime
// starts in either. Only then can a process that goes on with Go have a child that executes
// nothing. wait(2) does not show such a child, except with __WALL or __WCLONE, and the kernel
// sends no signal when it ends (clone(2): no exit signal). An execve would give it SIGCHLD.
//
// Where possible, the child is not even a child but a sibling (CLONE_PARENT); that is impossible
// for the first process of a PID namespace.
const ForkName = "binproxy-command"

// CanFork reports whether ForkName works in this build: it needs an entry of our own.
func CanFork() bool { return nofile[1] != 0 }

const notForked = -1 << 32

// Forked is the process that was made for ForkName, 0 in that process itself. The error is for a
// program that is only one process.
func Forked() (pid int, err error) {
	switch {
	case forked == notForked:
		return 0, unix.ENOSYS
	case forked < 0:
		return 0, unix.Errno(-forked)
	}
	return int(forked), nil
}
