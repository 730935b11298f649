// Package launch starts the command of a supervisor: a child of ours, the launcher, prepares
// itself and becomes the command.
//
// Supervisor and launcher talk over a socket. The launcher says which thread it is. The supervisor
// seizes that thread and sends the cookie. The launcher puts the filter on itself, sends the
// filter's listener, and execs the command, which closes the launcher's end.
package launch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"binproxy/emu/command"
	"binproxy/emu/entrypoint"
	"binproxy/emu/exit"
	"binproxy/emu/identity"
	"binproxy/emu/sys"
	"binproxy/emu/userns"
)

// Refused means that the machine does not allow a route.
type Refused struct {
	Route string
	Err   error
}

func (r *Refused) Error() string { return fmt.Sprintf("the route %s is refused: %v", r.Route, r.Err) }
func (r *Refused) Unwrap() error { return r.Err }

// Child is the launcher, and later the command.
type Child struct {
	PID, TID int // the process, and the thread that becomes the command
	socket   int
}

// Start starts a launcher for a supervisor, until the supervisor must seize it. The identity is
// the one to show, empty for the kernel's own; twins is a directory of twins to mount in the root,
// "" for none.
func Start(c command.Command, id identity.Identity, proc identity.Proc, twins string) (*Child, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socketpair: %w", err)
	}
	// The launcher inherits it under its number here: that is free in what the command inherits.
	if _, err := unix.FcntlInt(uintptr(pair[1]), unix.F_SETFD, 0); err != nil {
		return nil, err
	}
	pid, err := start(order{Command: c, socket: pair[1], identity: id, proc: proc, twins: twins})
	unix.Close(pair[1])
	if err != nil {
		return nil, err
	}
	child := &Child{PID: pid, socket: pair[0]}
	if err := child.meet(); err != nil {
		child.Abandon()
		return nil, err
	}
	return child, nil
}

// meet learns from the launcher which thread it is.
func (c *Child) meet() error {
	var b [4]byte
	n, err := sys.Read(c.socket, b[:])
	if err != nil || n != len(b) {
		return exit.Silent(exit.Failed) // the launcher has reported the reason
	}
	c.TID = int(binary.LittleEndian.Uint32(b[:]))
	return nil
}

// Abandon ends a launcher that was not told to go on.
func (c *Child) Abandon() {
	unix.Close(c.socket)
	_, _ = sys.Wait(c.PID)
}

// Go sends the launcher the cookie and lets it go on.
func (c *Child) Go(cookie uint64) error {
	if _, err := sys.Write(c.socket, binary.LittleEndian.AppendUint64(nil, cookie)); err != nil {
		return exit.Silent(exit.Failed) // the launcher has ended, and has reported the reason
	}
	return nil
}

// ErrAlone means that the launcher's filter can have no listener.
const ErrAlone = exit.Sentinel("the filter has no listener")

// messageSize is enough for any message.
const messageSize = 512

// The launcher sends one of these with its listener, or instead of it; a reason follows the last.
// A supervisor that cannot trace also sends the last, instead of the cookie; failure, followed by
// the reason, is for one that cannot go on at all.
const (
	withListener = "listener"
	alone        = "alone"
	refusal      = "refused: "
	failure      = "failed: "
)

// Listener takes the descriptor that the launcher sent before its first exec. The launcher may
// instead have sent the reason why it has none.
func (c *Child) Listener() (int, error) {
	var text [messageSize]byte
	oob := make([]byte, unix.CmsgSpace(4))
	var n, oobn int
	err := sys.Retry(func() (err error) {
		n, oobn, _, _, err = unix.Recvmsg(c.socket, text[:], oob, unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
		return err
	})
	if err != nil {
		return -1, fmt.Errorf("the filter's listener: %w", err)
	}
	said := string(text[:n])
	if why, ok := strings.CutPrefix(said, refusal); ok {
		return -1, &Refused{"supervise", errors.New(why)}
	}
	unix.Close(c.socket) // there is nothing else to be said
	if said == alone {
		return -1, ErrAlone
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(messages) == 0 {
		return -1, errors.New("the launcher sent no listener")
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return -1, fmt.Errorf("the filter's listener: %w", err)
	}
	if len(fds) != 1 {
		for _, fd := range fds {
			unix.Close(fd)
		}
		return -1, fmt.Errorf("the launcher sent %d listeners", len(fds))
	}
	return fds[0], nil
}

// start starts a launcher. For an ordinary user, a user namespace gives it the privilege to change
// the root.
func start(o order) (int, error) {
	o.ignored, o.closed = sys.StartState()
	attr := &syscall.ProcAttr{Env: o.Env, Files: []uintptr{0, 1, 2}}
	if o.Root != "" && !sys.Capable(unix.CAP_SYS_CHROOT) {
		ids, _, err := userns.Self()
		if err != nil {
			return 0, err
		}
		attr.Sys = ids.Clone()
		o.lend = os.Geteuid() != 0
	} else if o.twins != "" && sys.Capable(unix.CAP_SYS_ADMIN) {
		attr.Sys = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
	} else {
		o.twins = ""
	}
	argv, err := entrypoint.Argv(entrypoint.Launch, &o)
	if err != nil {
		return 0, err
	}
	self := entrypoint.Self
	if _, err := os.Lstat(self); err != nil {
		self = sys.Execfn() // a root without /proc
	}
	pid, err := syscall.ForkExec(self, argv, attr)
	if attr.Sys != nil && (errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EINVAL)) {
		return 0, fmt.Errorf("a new user namespace is refused: %w; as root it takes none", err)
	}
	if err != nil {
		return 0, fmt.Errorf("start the launcher: %w", err)
	}
	return pid, nil
}
