package sys

import (
	"bytes"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// Kill sends a signal to a process that runs in our place, or that we trace. Where root has no
// CAP_KILL, as in some containers, and the process became another user, Kill sends it as that
// user.
func Kill(pid int, signal unix.Signal) error {
	return asUserOf(pid, func() error { return unix.Kill(pid, signal) })
}

// SendThread is Kill for one thread of a process (tkill).
func SendThread(tid int, signal unix.Signal) error {
	return asUserOf(tid, func() error {
		if _, _, errno := unix.RawSyscall(unix.SYS_TKILL, uintptr(tid), uintptr(signal), 0); errno != 0 {
			return errno
		}
		return nil
	})
}

// asUserOf sends a signal; if that is not permitted, again with the real id of the process's user.
// This thread alone has that id meanwhile. Its effective id, which decides on all else but who may
// send it signals, stays.
func asUserOf(pid int, send func() error) error {
	err := send()
	if err != unix.EPERM {
		return err
	}
	status, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	_, after, _ := bytes.Cut(status, []byte("\nUid:\t"))
	user, _, _ := bytes.Cut(after, []byte("\t"))
	uid, wrong := strconv.Atoi(string(user))
	if wrong != nil {
		return err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const same = ^uintptr(0)
	own := uintptr(unix.Getuid())
	if _, _, errno := unix.RawSyscall(sysSetresuid, uintptr(uid), same, same); errno != 0 {
		return err
	}
	err = send()
	_, _, _ = unix.RawSyscall(sysSetresuid, own, same, same)
	return err
}
