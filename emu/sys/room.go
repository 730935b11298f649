//go:build amd64 || arm64

package sys

// gate is what the threads that are tried wait for: to be 1.
//
//lint:ignore U1000 threads, in assembly, uses it.
var gate uint32

// RoomForThreads reports whether the limits of processes (ulimit -u, a container's --pids-limit)
// leave room for so many threads more. The Go runtime ends a program with a dump of its own when
// it gets no thread, and no call says how many are left. So they are tried: all of them, which
// wait until the last is there, and end then. They are not the runtime's, run no Go code, and
// touch no stack.
//
//go:noinline
//go:norace
func RoomForThreads(n int) bool {
	gate = 0
	beforeFork()
	full := threads(uintptr(n))
	afterFork()
	return full == 0
}

// threads starts n threads and ends them. It gives 1 where one was refused for want of room
// (EAGAIN), else 0.
func threads(n uintptr) (full uintptr)
