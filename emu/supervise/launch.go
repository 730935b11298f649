package supervise

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"binproxy/emu/exit"
	"binproxy/emu/seccomp"
	"binproxy/emu/sys"
)

// LaunchName is the argv[0] of the entrypoint that becomes the supervised command.
const LaunchName = "binproxy-launch"

// Refused tells that the machine does not allow supervision.
type Refused struct{ Err error }

func (r *Refused) Error() string {
	return "this machine refuses the supervised route: " + r.Err.Error()
}
func (r *Refused) Unwrap() error { return r.Err }

const options = unix.PTRACE_O_EXITKILL | unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACESECCOMP | unix.PTRACE_O_TRACEEXEC |
	unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK | unix.PTRACE_O_TRACECLONE

// The talk between supervisor and launcher, over a socket: the launcher says which thread it is, the supervisor seizes it and says the
// cookie; the launcher puts the filter on itself, sends the listener, and execs the command, which closes its end.

// launch starts the first child, up to where it goes on by itself.
func (s *supervisor) launch() error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socketpair: %w", err)
	}
	s.socket = pair[0]
	err = s.start(pair[1])
	unix.Close(pair[1])
	if err != nil {
		return err
	}
	var b [8]byte
	n, err := unix.Read(s.socket, b[:4])
	if err != nil || n != 4 {
		return errors.Join(errors.New("the launcher did not start"), err)
	}
	tid := int(binary.LittleEndian.Uint32(b[:]))
	if err := sys.Seize(tid, options); err != nil {
		unix.Close(s.socket)
		_, _ = sys.Wait(s.child)
		return &Refused{fmt.Errorf("ptrace(PTRACE_SEIZE): %w", err)}
	}
	s.enter(tid)
	binary.LittleEndian.PutUint64(b[:], s.cookie)
	_, err = unix.Write(s.socket, b[:])
	return err
}

func (s *supervisor) start(socket int) error {
	self, err := os.Executable()
	if err != nil {
		self = sys.Execfn()
	}
	argv := append([]string{LaunchName, strconv.FormatUint(sys.Ignored(), 16), s.config.Root, s.config.Dir}, s.config.Argv...)
	attr := &syscall.ProcAttr{Env: s.config.Env, Files: []uintptr{0, 1, 2, uintptr(socket)}}
	s.child, err = syscall.ForkExec(self, argv, attr)
	if err != nil {
		return &os.PathError{Op: "start", Path: self, Err: err}
	}
	return nil
}

// listener is the descriptor that the launcher sent; it has done so before its first exec.
func (s *supervisor) listener() (int, error) {
	if s.notify >= 0 {
		return s.notify, nil
	}
	var text [256]byte
	oob := make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := unix.Recvmsg(s.socket, text[:], oob, unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
	if err != nil {
		return -1, fmt.Errorf("the filter's listener: %w", err)
	}
	unix.Close(s.socket)
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(messages) == 0 {
		return -1, fmt.Errorf("the filter has no listener: %s", text[:n])
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return -1, fmt.Errorf("the filter's listener: %w", err)
	}
	s.notify = fds[0]
	return s.notify, nil
}

const launchSocket = 3

// Launch is the entrypoint of the first child: it has itself traced, puts the filter on, and becomes the command. It returns only with an error.
func Launch(args []string) error {
	runtime.LockOSThread()
	unix.CloseOnExec(launchSocket)
	if len(args) < 4 {
		return exit.Errorf(exit.Failed, "%s is not to be called by hand", LaunchName)
	}
	ignored, err := strconv.ParseUint(args[0], 16, 64)
	if err != nil {
		return err
	}
	if err := enterRoot(args[1], args[2]); err != nil {
		return err
	}
	cookie, err := introduce()
	if err != nil {
		return err
	}
	if err := install(cookie); err != nil {
		return err
	}
	return execvp(args[3:], os.Environ(), ignored)
}

func introduce() (uint64, error) {
	var b [8]byte
	binary.LittleEndian.PutUint32(b[:], uint32(unix.Gettid()))
	if _, err := unix.Write(launchSocket, b[:4]); err != nil {
		return 0, err
	}
	n, err := unix.Read(launchSocket, b[:])
	if err != nil || n != len(b) {
		return 0, exit.Silent(exit.Failed) // the supervisor has gone, and has said why
	}
	return binary.LittleEndian.Uint64(b[:]), nil
}

func enterRoot(root, dir string) error {
	if root != "" {
		if err := unix.Chroot(root); err != nil {
			return &os.PathError{Op: "chroot", Path: root, Err: err}
		}
		if dir == "" {
			dir = "/"
		}
	}
	if dir == "" {
		return nil
	}
	return os.Chdir(dir)
}

// install puts the filter on this thread. Without CAP_SYS_ADMIN that takes no_new_privs.
func install(cookie uint64) error {
	code, err := seccomp.Assemble(filter(cookie, true))
	if err != nil {
		return err
	}
	listener, err := sys.InstallFilter(code, sys.Listener)
	if errors.Is(err, unix.EACCES) {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("prctl(PR_SET_NO_NEW_PRIVS): %w", err)
		}
		listener, err = sys.InstallFilter(code, sys.Listener)
	}
	if err != nil {
		return err
	}
	err = unix.Sendmsg(launchSocket, []byte("listener"), unix.UnixRights(listener), nil, 0)
	unix.Close(listener)
	return err
}
