package probe

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"binproxy/emu/arch"
	"binproxy/emu/seccomp"
	"binproxy/emu/sys"
)

// noNewPrivs reports whether no_new_privs, which a filter needs, is set or can be set.
func noNewPrivs() Result {
	set, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	if err != nil {
		return no("Linux 3.5 or later", "prctl(PR_GET_NO_NEW_PRIVS): %v", err)
	}
	r := ask(command(nil, nil, "filter", "free"), "")
	switch {
	case set == 1:
		return yes("it is set already: setuid programs run without their rights, so sudo and su do not work")
	case r.Answer == Yes:
		return yes("it is not needed: CAP_SYS_ADMIN allows a filter without it")
	}
	return yes("a filter needs it here, without CAP_SYS_ADMIN: setuid programs then run without their rights, so sudo and su do not work")
}

// installFilter puts a filter that traces execve on this thread; "free" without no_new_privs,
// "bound" with it.
func installFilter(args []string) error {
	runtime.LockOSThread()
	if len(args) == 0 || args[0] != "free" {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("prctl(PR_SET_NO_NEW_PRIVS): %w", err)
		}
	}
	code, err := seccomp.Assemble([]seccomp.Rule{{Arch: arch.Host().Audit(), Number: unix.SYS_EXECVE, Action: seccomp.Trace(1)}})
	if err != nil {
		return err
	}
	_, err = sys.InstallFilter(code, 0)
	return err
}

// useListener puts a filter with a listener on this thread. Another thread serves the listener,
// and gives this one a descriptor.
func useListener([]string) error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("prctl(PR_SET_NO_NEW_PRIVS): %w", err)
	}
	code, err := seccomp.Assemble([]seccomp.Rule{{Arch: arch.Host().Audit(), Number: unix.SYS_GETPPID, Action: seccomp.Notify}})
	if err != nil {
		return err
	}
	listeners, served := make(chan int), make(chan error)
	go func() { served <- serve(<-listeners) }()
	runtime.LockOSThread()
	listener, err := sys.InstallFilter(code, sys.Listener)
	if err != nil {
		return err
	}
	listeners <- listener
	// Neither this call nor the listener's may keep a small machine's only processor, as
	// unix.Getppid does.
	if got, _ := sys.CallWaiting(unix.SYS_GETPPID, [6]uintptr{}); got != answer {
		return errors.Join(<-served, fmt.Errorf("getppid gave %d, not the listener's %d", got, answer))
	}
	return <-served
}

// answer is the listener's answer: no process has such a number.
const answer = 1 << 30

func serve(listener int) error {
	call, err := sys.ReceiveNotification(listener)
	if err != nil {
		return fmt.Errorf("ioctl(SECCOMP_IOCTL_NOTIF_RECV): %w", err)
	}
	f, err := os.Open("/dev/null")
	if err == nil {
		defer f.Close()
		if _, err = sys.GiveDescriptor(listener, call.ID, int(f.Fd()), true); err != nil {
			err = fmt.Errorf("ioctl(SECCOMP_IOCTL_NOTIF_ADDFD): %w", err)
		}
	}
	if answered := sys.AnswerNotification(listener, call.ID, answer, 0); answered != nil {
		return fmt.Errorf("ioctl(SECCOMP_IOCTL_NOTIF_SEND): %w", answered)
	}
	return err
}
