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
	case unix.SYS_IO_GETEVENTS, unix.SYS_IO_PGETEVENTS:
		w.Timeout, err = timespec(m, r.R8)
	case unix.SYS_READ, unix.SYS_READV, unix.SYS_RECVFROM, unix.SYS_RECVMSG, unix.SYS_RECVMMSG, unix.SYS_ACCEPT, unix.SYS_ACCEPT4:
		w.Option, w.Expired = unix.SO_RCVTIMEO, -int64(unix.EAGAIN)
	case unix.SYS_WRITE, unix.SYS_WRITEV, unix.SYS_SENDTO, unix.SYS_SENDMSG, unix.SYS_SENDMMSG:
		w.Option, w.Expired = unix.SO_SNDTIMEO, -int64(unix.EAGAIN)
	case unix.SYS_CONNECT:
		w.Option, w.Expired = unix.SO_SNDTIMEO, -int64(unix.EINPROGRESS)
		var family [1]byte
		if err = m.Read(r.Rsi, family[:]); family[0] == unix.AF_UNIX {
			w.Expired = -int64(unix.EAGAIN)
		}
	default:
		return w, false
	}
	return w, err == nil
}

// Cut reports whether a call has moved only a part of the bytes that it does not return without,
// unless a signal comes.
func (r *Registers) Cut() bool {
	if r.Cs != userCode64 || r.Result() <= 0 || r.Rax >= r.Rdx {
		return false
	}
	const whole = unix.MSG_WAITALL
	switch r.Orig_rax {
	case unix.SYS_WRITE, unix.SYS_SENDTO:
		return true
	case unix.SYS_RECVFROM:
		return r.R10&(whole|unix.MSG_PEEK|unix.MSG_DONTWAIT) == whole
	}
	return false
}

// FD is the descriptor that the call is about.
func (r *Registers) FD() int { return int(int32(r.Rdi)) }

// Rest turns a call that was cut into one for the rest of its bytes.
func (r *Registers) Rest() {
	r.Rsi, r.Rdx = r.Rsi+r.Rax, r.Rdx-r.Rax
	r.Again(r.Orig_rax)
}
