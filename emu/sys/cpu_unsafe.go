package sys

import (
	"errors"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// WaitKeep waits as Wait(-1) does, but leaves the thread that it found to be waited for. It gives
// the thread's number, and whether the thread has ended.
func WaitKeep() (tid int, ended bool, err error) {
	var info unix.Siginfo
	err = Retry(func() error {
		return unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WSTOPPED|unix.WALL|unix.WNOWAIT, nil)
	})
	if err != nil {
		return 0, false, err
	}
	const dumped = 3 // CLD_EXITED, CLD_KILLED and CLD_DUMPED are 1 to 3 (siginfo.h)
	// On 64-bit hosts, the union behind three ints and a word's alignment starts with si_pid.
	pid := *(*int32)(unsafe.Add(unsafe.Pointer(&info), 16))
	return int(pid), info.Code >= 1 && info.Code <= dumped, nil
}

// ProcessCPU is the CPU time, user and system, of all threads of a process, including ended ones.
// It can be asked until the process has been waited for. (clock_gettime with the clock of
// clock_getcpuclockid(3).)
func ProcessCPU(pid int) (time.Duration, error) {
	const scheduled = 2 // CPUCLOCK_SCHED of linux/posix-timers.h
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|scheduled), &ts); err != nil {
		if errors.Is(err, unix.EINVAL) {
			err = unix.ESRCH
		}
		return 0, os.NewSyscallError("clock_gettime", err)
	}
	return time.Duration(ts.Nano()), nil
}
