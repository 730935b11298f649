package supervise

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"binproxy/emu/arch"
	"binproxy/emu/binfmt"
	"binproxy/emu/exit"
	"binproxy/emu/seccomp"
	"binproxy/emu/supervise/spoof"
	"binproxy/emu/supervise/tracee"
	"binproxy/emu/sys"
)

// LaunchName is the argv[0] of the entrypoint that becomes the command: "binproxy-launch ORDER...
// -- COMMAND ARGV0 ARGUMENT...".
const LaunchName = "binproxy-launch"

// order is what the launcher has to do before it becomes the command.
type order struct {
	ignored, closed uint64 // the start state that the command is to have
	root, dir       string
	lend            bool              // the host's /proc, /dev and /sys to the root
	socket          int               // to talk to the supervisor over; 0 where there is none
	spoof           string            // the identity to be told (encodeSpoof)
	twins           string            // a directory of twins to be mounted in the root; "" for none
	entries         map[string]string // the emulator for each ABI, to be registered in a binfmt_misc of its own
}

// words are the order as arguments.
func (o order) words() []string {
	flags := strconv.FormatUint(o.ignored, 16) + " " + strconv.FormatUint(o.closed, 16) + " " +
		strconv.FormatBool(o.lend) + " " + strconv.Itoa(o.socket)
	list := []string{flags, o.root, o.dir, o.spoof, o.twins}
	for abi, path := range o.entries {
		list = append(list, abi, path)
	}
	return append(list, "--")
}

// parseOrder reads an order, and gives what comes behind it.
func parseOrder(words []string) (o order, rest []string, err error) {
	if len(words) < 6 {
		return o, nil, errors.New("words are missing")
	}
	if _, err := fmt.Sscanf(words[0], "%x %x %t %d", &o.ignored, &o.closed, &o.lend, &o.socket); err != nil {
		return o, nil, err
	}
	o.root, o.dir, o.spoof, o.twins, rest = words[1], words[2], words[3], words[4], words[5:]
	for len(rest) > 2 && rest[0] != "--" {
		if o.entries == nil {
			o.entries = map[string]string{}
		}
		o.entries[rest[0]] = rest[1]
		rest = rest[2:]
	}
	if len(rest) < 3 {
		return o, nil, errors.New("there is no command")
	}
	return o, rest[1:], nil
}

// Refused tells that the machine does not allow a route.
type Refused struct {
	Route string
	Err   error
}

func (r *Refused) Error() string { return fmt.Sprintf("the route %s is refused: %v", r.Route, r.Err) }
func (r *Refused) Unwrap() error { return r.Err }

// The talk between supervisor and launcher, over a socket: the launcher says which thread it is,
// the supervisor seizes it and says the cookie; the launcher puts the filter on itself, sends the
// listener, and execs the command, which closes its end.

// launch starts the first child, up to where it goes on by itself.
func (s *supervisor) launch() error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socketpair: %w", err)
	}
	s.socket = pair[0]
	// The launcher inherits it where it is: that number is free in what the command inherits.
	if _, err := unix.FcntlInt(uintptr(pair[1]), unix.F_SETFD, 0); err != nil {
		return err
	}
	o := order{socket: pair[1], spoof: spoof.Encode(s.config.Identity, s.config.Proc)}
	if s.twins != nil && s.twins.mount {
		o.twins = s.config.Twins.Set.Dir
	}
	s.child, err = start(s.config, o)
	unix.Close(pair[1])
	if err != nil {
		return err
	}
	var b [8]byte
	n, err := readAll(s.socket, b[:4])
	if err != nil || n != 4 {
		_, _ = sys.Wait(s.child)
		return exit.Silent(exit.Failed) // the launcher has said why
	}
	tid := int(binary.LittleEndian.Uint32(b[:]))
	if err := s.tracer.Seize(tid); err != nil {
		unix.Close(s.socket)
		_, _ = sys.Wait(s.child)
		return &Refused{"supervise", fmt.Errorf("ptrace(PTRACE_SEIZE): %w", err)}
	}
	s.enter(tid)
	sys.LetGoInherited(s.sight.Self)
	binary.LittleEndian.PutUint64(b[:], s.tracer.Cookie)
	_, err = unix.Write(s.socket, b[:])
	return err
}

func readAll(fd int, b []byte) (n int, err error) {
	for {
		if n, err = unix.Read(fd, b); err != unix.EINTR {
			return n, err
		}
	}
}

// start starts a launcher. An ordinary user gets the privilege to change the root in a user
// namespace.
func start(c Config, o order) (int, error) {
	o.ignored, o.closed = sys.StartState()
	o.root, o.dir = c.Root, c.Dir
	attr := &syscall.ProcAttr{Env: c.Env, Files: []uintptr{0, 1, 2}}
	if len(o.entries) > 0 || c.Root != "" && !sys.Capable(unix.CAP_SYS_CHROOT) {
		attr.Sys = namespace()
		o.lend = os.Geteuid() != 0
	} else if o.twins != "" && sys.Capable(unix.CAP_SYS_ADMIN) {
		attr.Sys = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
	} else {
		o.twins = ""
	}
	self := "/proc/self/exe" // our own file, whatever its name may mean by now
	if _, err := os.Lstat(self); err != nil {
		self = sys.Execfn()
	}
	pid, err := syscall.ForkExec(self, slices.Concat([]string{LaunchName}, o.words(), []string{c.Command}, c.Argv), attr)
	if attr.Sys != nil && (errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EINVAL)) {
		return 0, fmt.Errorf("a new user namespace is refused: %w; as root it takes none", err)
	}
	if err != nil {
		return 0, fmt.Errorf("start the launcher: %w", err)
	}
	return pid, nil
}

// namespace is a user namespace, with mounts of its own, in which we are who we are; an ordinary
// user is root there.
func namespace() *syscall.SysProcAttr {
	size := 1
	if os.Geteuid() == 0 {
		size = 1 << 16
	}
	ids := func(own int) []syscall.SysProcIDMap {
		if size > 1 {
			own = 0
		}
		return []syscall.SysProcIDMap{{ContainerID: 0, HostID: own, Size: size}}
	}
	return &syscall.SysProcAttr{
		Cloneflags:                 unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
		UidMappings:                ids(os.Geteuid()),
		GidMappings:                ids(os.Getegid()),
		GidMappingsEnableSetgroups: size > 1,
	}
}

// listener is the descriptor that the launcher sent; it has done so before its first exec. Instead
// it may have sent why it could not.
func (s *supervisor) listener() (int, error) {
	switch {
	case s.notify >= 0:
		return s.notify, nil
	case s.alone:
		return -1, errAlone
	}
	listener, err := s.receive()
	if err == nil && !sys.CanGiveDescriptors(listener) {
		err = errAlone
	}
	if err != nil {
		s.alone = err == errAlone
		return -1, err
	}
	s.notify = listener
	return listener, nil
}

func (s *supervisor) receive() (int, error) {
	var text [512]byte
	oob := make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := unix.Recvmsg(s.socket, text[:], oob, unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
	if err != nil {
		return -1, fmt.Errorf("the filter's listener: %w", err)
	}
	if why, ok := strings.CutPrefix(string(text[:n]), refusal); ok {
		return -1, &Refused{"supervise", errors.New(why)}
	}
	if string(text[:n]) == alone {
		return -1, errAlone
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(messages) == 0 {
		return -1, errors.New("the launcher sent no listener")
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return -1, fmt.Errorf("the filter's listener: %w", err)
	}
	return fds[0], nil
}

// Launch is the entrypoint of the first child: it has itself traced, puts the filter on, and
// becomes the command. It returns only with an error.
func Launch(args []string) error {
	runtime.LockOSThread()
	o, command, err := parseOrder(args)
	if err != nil {
		return exit.Errorf(exit.Failed, "%s is not to be called by hand: %w", LaunchName, err)
	}
	sys.SetStartState(o.ignored, o.closed)
	if o.socket != 0 {
		unix.CloseOnExec(o.socket)
	}
	if err := register(o.entries); err != nil {
		return err
	}
	id, proc, err := spoof.Decode(o.spoof)
	if err != nil {
		return exit.Errorf(exit.Failed, "%s is not to be called by hand: %w", LaunchName, err)
	}
	rules, err := spoof.Prepare(id, proc)
	if err != nil {
		return err
	}
	if o.lend && o.root != "" {
		lend(o.root)
	}
	if o.twins != "" {
		if err := mountTwins(o.twins, o.root); err != nil {
			fmt.Fprintln(os.Stderr, "binproxy: no twins:", err)
		}
	}
	if err := enterRoot(o.root, o.dir); err != nil {
		return err
	}
	if o.socket != 0 {
		if err := submit(o.socket, rules); err != nil {
			return err
		}
	}
	return execvp(command[0], command[1:], os.Environ())
}

// submit has this thread traced and filtered, with the further rules of a spoof.
func submit(socket int, spoofed []seccomp.Rule) error {
	var b [8]byte
	binary.LittleEndian.PutUint32(b[:], uint32(unix.Gettid()))
	if _, err := unix.Write(socket, b[:4]); err != nil {
		return err
	}
	n, err := readAll(socket, b[:])
	if err != nil || n != len(b) {
		return exit.Silent(exit.Failed) // the supervisor has gone, and has said why
	}
	if err := install(socket, binary.LittleEndian.Uint64(b[:]), spoofed); err != nil {
		_, _ = unix.Write(socket, []byte(refusal+err.Error()))
		return exit.Silent(exit.Failed)
	}
	return nil
}

// alone is what the launcher sends when its filter can have no listener.
const alone = "alone"

var errAlone = errors.New("the filter has no listener")

// refusal begins what the launcher sends instead of a listener.
const refusal = "refused: "

// Enter becomes the command without supervision: where the kernel routes its execs, or a
// supervisor that we are under does. It returns only with an error.
func Enter(c Config) error {
	if err := enterRoot(c.Root, c.Dir); err != nil {
		return err
	}
	return execvp(c.Command, c.Argv, c.Env)
}

// enterRoot makes root the root directory, if there is one, and dir, seen from there, the working
// directory.
func enterRoot(root, dir string) error {
	if root != "" {
		if err := unix.Chroot(root); err != nil {
			return &os.PathError{Op: "chroot", Path: root, Err: err}
		}
		if err := os.Chdir("/"); err != nil {
			return err
		}
	}
	if dir == "" {
		return nil
	}
	return os.Chdir(dir)
}

// register mounts a binfmt_misc of the own user namespace and makes an entry for each ABI.
func register(entries map[string]string) error {
	if len(entries) == 0 {
		return nil
	}
	registry, err := binfmt.Mount()
	if err != nil {
		return err
	}
	for name, path := range entries {
		// Of ABIs that share an emulator, and so an entry, the first one made it.
		if err := registry.Register(binfmt.ForABI(arch.Get(name), path, "POF")); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// install puts the filter on this thread, and sends its listener over the socket. Without
// CAP_SYS_ADMIN the filter takes no_new_privs. spoofed are the further rules of a spoof.
func install(socket int, cookie uint64, spoofed []seccomp.Rule) error {
	listener, err := installFilter(append(tracee.Filter(cookie, true), spoofed...), sys.Listener)
	if errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EINVAL) {
		// A filter that we are under has a listener, and there can be but one; or the kernel is
		// older than 5.0.
		if _, err := installFilter(append(tracee.Filter(cookie, false), spoofed...), 0); err != nil {
			return err
		}
		_, err := unix.Write(socket, []byte(alone))
		return err
	}
	if err != nil {
		return err
	}
	err = unix.Sendmsg(socket, []byte("listener"), unix.UnixRights(listener), nil, 0)
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

// lend gives a root that a user namespace is about to enter the host's /proc, /dev and /sys, where
// it has empty directories for them: an ordinary user cannot mount any of its own.
func lend(root string) {
	for _, name := range []string{"proc", "dev", "sys"} {
		_ = unix.Mount("/"+name, filepath.Join(root, name), "", unix.MS_BIND|unix.MS_REC, "")
	}
}
