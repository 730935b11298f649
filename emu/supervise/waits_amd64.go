package supervise

import (
	"time"

	"golang.org/x/sys/unix"
)

// userCode64 is the code segment of 64-bit programs.
const userCode64 = 0x33

// wait describes the call that was interrupted, if it is one that the kernel does not start anew.
func (r *registers) wait(m memory) (wait, bool) {
	w := wait{ip: r.Rip, sp: r.Rsp, nr: r.Orig_rax, args: [4]uint64{r.Rdi, r.Rsi, r.Rdx, r.R10}, timeout: -1}
	if r.Cs != userCode64 {
		return w, false
	}
	var err error
	switch r.Orig_rax {
	case unix.SYS_EPOLL_WAIT, unix.SYS_EPOLL_PWAIT:
		w.timeout = time.Duration(int32(r.R10)) * time.Millisecond
	case unix.SYS_EPOLL_PWAIT2:
		w.timeout, err = m.timespec(r.R10)
	case unix.SYS_RT_SIGTIMEDWAIT:
		w.timeout, err = m.timespec(r.Rdx)
		w.expired = -int64(unix.EAGAIN)
	case unix.SYS_SEMTIMEDOP:
		w.timeout, err = m.timespec(r.R10)
		w.expired = -int64(unix.EAGAIN)
	case unix.SYS_SEMOP:
	default:
		return w, false
	}
	return w, err == nil
}
