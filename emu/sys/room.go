//go:build amd64 || arm64

package sys

import (
	"os"

	"golang.org/x/sys/unix"
)

// gate is what the threads that are tried wait for: to be 1.
//
//lint:ignore U1000 threads, in assembly, uses it.
var gate uint32

// tried are the threads that were tried, 0 for none.
var tried [7]int32

// RoomForChild is RoomForThreads for those that the Go runtime starts in a child that is this
// program, and further ones in the parent meanwhile.
func RoomForChild() error { return RoomForThreads(len(tried)) }

// RoomForThreads is nil where the limits of processes (ulimit -u, a container's --pids-limit)
// leave room for so many threads more, seven at most. The Go runtime ends a program with a dump of
// its own when it gets no thread, and no call says how many are left. So they are tried: all of
// them, which wait until the last is there, and end then. They are not the runtime's, run no Go
// code, and touch no stack. They count until they have ended, which RoomForThreads waits for.
//
//go:noinline
//go:norace
func RoomForThreads(n int) error {
	gate, tried = 0, [len(tried)]int32{}
	beforeFork()
	full := threads(uintptr(n))
	afterFork()
	for _, tid := range tried {
		// A tracer of others may keep a thread that has ended.
		for looks := 0; tid != 0 && looks < 10000 && unix.Tgkill(os.Getpid(), int(tid), 0) == nil; looks++ {
			_, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
		}
	}
	if full != 0 {
		return ErrNoRoom
	}
	return nil
}

// threads starts n threads, puts them into tried, and ends them. It gives 1 where one was refused
// for want of room (EAGAIN), else 0.
func threads(n uintptr) (full uintptr)
