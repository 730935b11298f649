package sys

import "golang.org/x/sys/unix"

// ForkName is the argv[0] with which the program becomes two processes before the Go runtime
// starts in either: only then can a process that goes on with Go have a child that executes
// nothing. The kernel does not show such a child to wait(2), unless by __WALL or __WCLONE, and
// sends no signal when it ends (clone(2): no exit signal); execve would give it SIGCHLD.
//
// Where it may be, the child is not even a child but a sibling (CLONE_PARENT): not of a PID
// namespace's first process.
const ForkName = "binproxy-command"

// CanFork reports whether ForkName does that in this build: without an entry of our own it does
// not.
func CanFork() bool { return nofile[1] != 0 }

const notForked = -1 << 32

// Forked is the process that was made for ForkName, 0 in that itself. The error is for a program
// that is one process only.
func Forked() (pid int, err error) {
	switch {
	case forked == notForked:
		return 0, unix.ENOSYS
	case forked < 0:
		return 0, unix.Errno(-forked)
	}
	return int(forked), nil
}
