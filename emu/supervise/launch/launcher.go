package launch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"binproxy/emu/command"
	"binproxy/emu/entrypoint"
	"binproxy/emu/exit"
	"binproxy/emu/seccomp"
	"binproxy/emu/supervise/spoof"
	"binproxy/emu/supervise/tracee"
	"binproxy/emu/sys"
)

// Main is the entrypoint of the first child: it has itself traced, installs the filter, and
// becomes the command. It returns only with an error.
func Main(words []string) error {
	runtime.LockOSThread()
	var o order
	if err := entrypoint.Read(words, &o); err != nil {
		return err
	}
	o.Env = command.InPlaceOf(os.Getppid())
	sys.SetStartState(o.ignored, o.closed)
	sys.DefaultSignals() // the tracer stops us before the exec, too
	unix.CloseOnExec(o.socket)
	rules, err := spoof.Prepare(o.identity, o.proc)
	if err != nil {
		return err
	}
	if o.lend && o.Root != "" {
		command.Lend(o.Root)
	}
	if o.twins != "" {
		if err := mountTwins(o.twins, o.Root); err != nil {
			fmt.Fprintln(os.Stderr, "binproxy: no twins:", err)
		}
	}
	if err := o.EnterRoot(); err != nil {
		return err
	}
	err = submit(o.socket, rules)
	if errors.As(err, new(*Refused)) {
		return exit.Silent(exit.Failed) // the supervisor reports the reason
	}
	if err != nil {
		return err
	}
	return o.Exec()
}

// submit has this thread traced and filtered, with the extra rules of a spoof.
func submit(socket int, further []seccomp.Rule) error {
	var b [messageSize]byte
	binary.LittleEndian.PutUint32(b[:], uint32(unix.Gettid()))
	_, _ = sys.Write(socket, b[:4]) // a supervisor that has ended may have said why
	n, err := sys.Read(socket, b[:])
	if errors.Is(err, unix.ECONNRESET) {
		// It has not read the message above. This error comes before what it said.
		n, err = sys.Read(socket, b[:])
	}
	if why, ok := strings.CutPrefix(string(b[:max(n, 0)]), refusal); ok {
		return &Refused{"supervise", errors.New(why)}
	}
	if why, ok := strings.CutPrefix(string(b[:max(n, 0)]), failure); ok {
		return errors.New(why)
	}
	if err != nil || n != 8 {
		return exit.Silent(exit.Failed) // the supervisor has ended, and has reported the reason
	}
	if err := install(socket, binary.LittleEndian.Uint64(b[:]), further); err != nil {
		_, _ = sys.Write(socket, []byte(refusal+err.Error()))
		return &Refused{"supervise", err}
	}
	return nil
}

// install installs the filter on this thread, and sends its listener over the socket. Without
// CAP_SYS_ADMIN the filter requires no_new_privs. further are the rules of a spoof.
func install(socket int, cookie uint64, further []seccomp.Rule) error {
	listener, err := installFilter(tracee.Filter(cookie, true, further), sys.Listener)
	if errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EINVAL) {
		// A filter above ours has a listener, and only one can have it; or the kernel is older
		// than 5.0.
		if _, err := installFilter(tracee.Filter(cookie, false, further), 0); err != nil {
			return err
		}
		_, err := sys.Write(socket, []byte(alone))
		return err
	}
	if err != nil {
		return err
	}
	err = sys.Retry(func() error { return unix.Sendmsg(socket, []byte(withListener), unix.UnixRights(listener), nil, 0) })
	unix.Close(listener)
	return err
}

func installFilter(rules []seccomp.Rule, flags uintptr) (int, error) {
	code, err := seccomp.Assemble(rules)
	if err != nil {
		return -1, err
	}
	fd, err := sys.InstallFilter(code, flags)
	if !errors.Is(err, unix.EACCES) {
		return fd, err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return -1, fmt.Errorf("prctl(PR_SET_NO_NEW_PRIVS): %w", err)
	}
	return sys.InstallFilter(code, flags)
}
