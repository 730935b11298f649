package sys

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Listener is for InstallFilter: the filter gets a listener.
const Listener = unix.SECCOMP_FILTER_FLAG_NEW_LISTENER

// InstallFilter puts a seccomp filter on the calling thread (lock it to its goroutine first). With
// flags Listener it gives the listener's descriptor, else 0. Kernels before 5.16 turn on the
// mitigation of speculative store bypass with a filter, which slows an emulator much; it stays off
// where the kernel can do that (4.17).
func InstallFilter(filter []unix.SockFilter, flags uintptr) (int, error) {
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	fd, errno := seccomp(unix.SECCOMP_SET_MODE_FILTER, flags|unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW, unsafe.Pointer(&program))
	if errno == unix.EINVAL {
		fd, errno = seccomp(unix.SECCOMP_SET_MODE_FILTER, flags, unsafe.Pointer(&program))
	}
	if errno != 0 {
		return -1, fmt.Errorf("seccomp(SECCOMP_SET_MODE_FILTER, flags %#x): %w", flags, errno)
	}
	return fd, nil
}

func seccomp(operation, flags uintptr, args unsafe.Pointer) (int, unix.Errno) {
	r, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, operation, flags, uintptr(args))
	return int(r), errno
}

// Notification is a call that waits for its filter's listener.
type Notification struct {
	ID  uint64
	TID int
}

// struct seccomp_notif, seccomp_notif_resp and seccomp_notif_addfd of linux/seccomp.h. A kernel
// may have longer ones (SECCOMP_GET_NOTIF_SIZES gives their size); none has yet, and the room
// after them is for that.
type seccompNotif struct {
	id         uint64
	pid, flags uint32
	data       [64]byte
	room       [176]byte
}

type seccompResponse struct {
	id    uint64
	val   int64
	error int32
	flags uint32
	room  [104]byte
}

type seccompAddFD struct {
	id                             uint64
	flags, srcfd, newfd, newfdFlag uint32
}

// SECCOMP_IOCTL_NOTIF_ADDFD: _IOW('!', 3, struct seccomp_notif_addfd)
const ioctlNotifAddFD = 0x40182103

// ReceiveNotification takes one waiting call from the listener. It blocks until there is one, and
// gives the processor to other goroutines.
func ReceiveNotification(listener int) (Notification, error) {
	var n seccompNotif
	if _, err := ioctl(listener, unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&n)); err != nil {
		return Notification{}, err
	}
	return Notification{n.id, int(n.pid)}, nil
}

// AnswerNotification ends the waiting call with a result, or with an errno if that is not 0.
func AnswerNotification(listener int, id uint64, value int64, errno unix.Errno) error {
	r := seccompResponse{id: id, val: value, error: -int32(errno)}
	_, err := ioctl(listener, unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&r))
	return err
}

// GiveDescriptor puts fd into the process that makes the waiting call, as its lowest free
// descriptor, and returns its number there (Linux 5.9).
func GiveDescriptor(listener int, id uint64, fd int, cloexec bool) (int, error) {
	a := seccompAddFD{id: id, srcfd: uint32(fd)}
	if cloexec {
		a.newfdFlag = unix.O_CLOEXEC
	}
	return ioctl(listener, ioctlNotifAddFD, unsafe.Pointer(&a))
}

// CanGiveDescriptors reports whether the kernel has GiveDescriptor.
func CanGiveDescriptors(listener int) bool {
	_, err := GiveDescriptor(listener, 0, -1, false)
	return err != unix.EINVAL // a kernel that has it checks the descriptor first
}

func ioctl(fd int, request uintptr, arg unsafe.Pointer) (int, error) {
	for {
		r, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(arg))
		if errno == 0 {
			return int(r), nil
		}
		if errno != unix.EINTR {
			return -1, errno
		}
	}
}
