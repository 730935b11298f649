package tracee

import (
	"time"

	"golang.org/x/sys/unix"
)

// userCode64 is the code segment of 64-bit programs.
const userCode64 = 0x33

// Wait describes the interrupted call, if it is one that the kernel does not restart.
func (r *Registers) Wait(m reader) (Wait, bool) {
	args := [4]uint64{r.Rdi, r.Rsi, r.Rdx, r.R10}
	w := Wait{IP: r.Rip, SP: r.Rsp, Nr: r.Orig_rax, Args: args, Timeout: -1}
	if r.Cs != userCode64 {
		return w, false
	}
	var err error
	switch r.Orig_rax {
	case unix.SYS_EPOLL_WAIT, unix.SYS_EPOLL_PWAIT:
		w.Timeout = time.Duration(int32(r.R10)) * time.Millisecond
	case unix.SYS_EPOLL_PWAIT2:
		w.Timeout, err = timespec(m, r.R10)
	case unix.SYS_RT_SIGTIMEDWAIT:
		w.Timeout, err = timespec(m, r.Rdx)
		w.Expired = -int64(unix.EAGAIN)
	case unix.SYS_SEMTIMEDOP:
		w.Timeout, err = timespec(m, r.R10)
		w.Expired = -int64(unix.EAGAIN)
	case unix.SYS_SEMOP:
	default:
		return w, false
	}
	return w, err == nil
}
