// Package supervise routes every execve of a tree of processes: the supervised route.
//
// A seccomp filter stops only execve and execveat, for a tracer (SECCOMP_RET_TRACE). The tracer
// reads which file is meant, as the tracee sees it, and resolves it (emu/resolve). A native
// program, or a file that the kernel would refuse, goes on as it is: the kernel's own answer is
// the right one. For a guest program the tracee gets a descriptor of the emulator, by the filter's
// listener (SECCOMP_IOCTL_NOTIF_ADDFD), and its call becomes an execveat of that descriptor, with
// the same pointers to arguments and environment. When the emulator is loaded, its stack, which
// nobody else can see, is arranged: the emulator's arguments come before the guest's.
//
// So no memory is changed of a process that may still need it, only a page or two is copied, no
// path must be visible in the tracee's root, and no environment variable takes part. All of this
// runs on one locked thread, as ptrace requires.
package supervise

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"binproxy/emu/arch"
	"binproxy/emu/emulator"
	"binproxy/emu/exit"
	"binproxy/emu/identity"
	"binproxy/emu/resolve"
	"binproxy/emu/signals"
	"binproxy/emu/supervise/launch"
	"binproxy/emu/supervise/sight"
	"binproxy/emu/supervise/spoof"
	"binproxy/emu/supervise/tracee"
	"binproxy/emu/sys"
)

// Config says what to run, and how.
type Config struct {
	Command string // found in PATH of Env as execvp finds it
	Argv    []string
	Env     []string
	Root    string // the directory that it runs in as its root; "" for our own
	Dir     string // its working directory, within Root; "" for ours, or / of Root

	Guest    func(*arch.ABI) bool                       // which programs go to an emulator
	Emulator func(*arch.ABI) (emulator.Emulator, error) // which one
	// what stands behind a path to binproxy; nil for nothing
	Behind func(path string) string

	Identity identity.Identity // what every program sees; empty fields are the kernel's
	Release  string            // what only guests see, from their emulator; "" for Identity's
	Proc     identity.Proc     // how the kernel's files show it

	Debug    bool        // one line for each exec on stderr
	Observer Observer    // nil for none
	Died     func(Death) // called for each guest that ended badly; nil for none
	Twins    *Twins      // which twins may stand in for guest programs; nil for none

	Pair *Pair // for a command that keeps its process (see Keep); nil for a child
}

// supervisor is the state of the tracer's thread.
type supervisor struct {
	config   Config
	resolver resolve.Resolver
	tracer   *tracee.Tracer
	sight    *sight.Sight
	child    *launch.Child
	notify   int  // the filter's listener; negative until it has come
	alone    bool // no listener can hand over descriptors
	mayOpen  int  // how many files we may have open
	held     int  // how many of guests are open

	tasks      map[int]*task
	early      map[int]bool  // tracees that ended before their parent's stop reported them
	overtakers map[int]*task // threads that may be about to take over another's number
	waiting    []tracee.Stop // stops that wait for those threads
	emulators  map[*arch.ABI]*opened
	broken     map[*arch.ABI]error

	told  bool // that a namespace has to be made first
	watch watch
	spoof *spoof.Spoof // nil if the identity is the kernel's own
	twins *twins       // nil if no rule is asked
	outer *string      // the host's LD_PRELOAD that the command has; nil until it is asked for
}

// tooOld reports a kernel whose seccomp filters stop a tracee too late for the tracer to change
// the call (before Linux 4.8, seccomp(2)).
func tooOld(release string) error {
	if identity.Above("4.8", release) {
		return fmt.Errorf("seccomp filters of Linux %s act before ptrace can change a call; it takes Linux 4.8", release)
	}
	return nil
}

// Run runs the command under supervision and returns its end. The error says why the command did
// not start: Refused if the machine does not let us trace.
func Run(c Config) (unix.WaitStatus, error) {
	status, err := run(c)
	var refused *Refused
	switch {
	case c.Pair == nil:
	case errors.As(err, &refused):
		c.Pair.Refuse(refused.Err)
	case errors.Is(err, sys.ErrNoRoom):
		c.Pair.Fail(err)
		err = exit.Silent(exit.Failed)
	}
	return status, err
}

func run(c Config) (unix.WaitStatus, error) {
	if len(tracee.Execs) == 0 {
		return 0, &Refused{Route: "supervise", Err: fmt.Errorf("it does not know the registers of a %s host", runtime.GOARCH)}
	}
	kernel, err := identity.Kernel()
	if err != nil {
		return 0, err
	}
	if err := tooOld(kernel.Release); err != nil {
		return 0, &Refused{Route: "supervise", Err: err}
	}
	if err := sys.RoomForChild(); err != nil {
		return 0, err
	}
	runtime.LockOSThread() // for good: the tracees are this thread's
	s := &supervisor{
		config: c, resolver: resolve.Resolver{Guest: c.Guest},
		notify: -1,
		tasks:  map[int]*task{}, early: map[int]bool{}, overtakers: map[int]*task{}, emulators: map[*arch.ABI]*opened{}, broken: map[*arch.ABI]error{},
	}
	var b [8]byte
	if _, err := unix.Getrandom(b[:], 0); err != nil {
		return 0, err
	}
	if err := errors.Join(s.openProc(), s.limitFiles()); err != nil {
		return 0, err
	}
	s.tracer = &tracee.Tracer{Proc: s.sight.Proc, Cookie: binary.LittleEndian.Uint64(b[:]), CPU: c.Observer != nil, Listener: s.listener, Witnesses: s.witnesses}
	if !c.Identity.IsZero() {
		s.spoof = spoof.New(c.Identity, s.sight, s.debug)
	}
	if c.Twins != nil {
		s.openTwins()
		if c.Pair != nil && s.twins != nil && s.twins.mount {
			s.twins = nil // nobody mounts them: the command is in its root already
		}
	}
	handOn, err := signals.Forward(signals.Stops...)
	if err != nil {
		return 0, err
	}
	if err := sys.TraceQuietly(); err != nil {
		return 0, err
	}
	defer s.placeTwins()()
	if err := s.launch(); err != nil {
		return 0, err
	}
	if c.Pair == nil {
		go handOn(s.child.PID)
	}
	s.watch.proc, s.watch.by, s.watch.say = s.sight.Proc, unix.Gettid(), s.say
	go s.watch.keep()
	status, err := s.loop()
	s.watch.serving(0)
	if err == nil && s.notify < 0 {
		if _, why := s.listener(); errors.As(why, new(*Refused)) {
			return 0, why // it did not become the command
		}
	}
	return status, err
}

// openProc keeps /proc open: a guest may unmount it.
func (s *supervisor) openProc() error {
	proc, err := sys.OpenProc()
	if err != nil {
		return &Refused{Route: "supervise", Err: err}
	}
	self, err := sys.Openat(proc, "self/fd", unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return &Refused{Route: "supervise", Err: fmt.Errorf("/proc is of another PID namespace: %w", err)}
	}
	if s.sight, err = sight.New(proc, self); err != nil {
		return err
	}
	s.sight.Behind, s.sight.Guest = s.config.Behind, s.programOf
	return nil
}

// launch starts the first child, until it goes on by itself.
func (s *supervisor) launch() error {
	var twins string
	if s.twins != nil && s.twins.mount {
		twins = s.config.Twins.Set.Dir
	}
	child, err := s.start(twins)
	if err != nil {
		return err
	}
	if err := s.tracer.Seize(child.TID); err != nil {
		if s.config.Pair == nil {
			child.Abandon()
		}
		return &Refused{Route: "supervise", Err: fmt.Errorf("ptrace(PTRACE_SEIZE): %w", sys.Untraceable(err))}
	}
	s.child = child
	s.enter(child.TID)
	return child.Go(s.tracer.Cookie)
}

// start starts the launcher, or finds the one that keeps its process.
func (s *supervisor) start(twins string) (*launch.Child, error) {
	if s.config.Pair != nil {
		return launch.Adopt(*s.config.Pair)
	}
	return launch.Start(s.config.Bare(), s.config.Identity, s.config.Proc, twins)
}

// listener is the filter's, which the launcher sends; launch.ErrAlone if none can hand over
// descriptors. From then on the command is certain to run here, and has what we inherited, which
// we give up. Where the launcher was refused, we may become the command, by another route.
func (s *supervisor) listener() (int, error) {
	switch {
	case s.notify >= 0:
		return s.notify, nil
	case s.alone:
		return -1, launch.ErrAlone
	}
	listener, err := s.child.Listener()
	if err == nil && !sys.CanGiveDescriptors(listener) {
		err = launch.ErrAlone
	}
	if err == launch.ErrAlone {
		s.alone = true
	} else if err != nil {
		return -1, err
	} else {
		s.notify = listener
	}
	sys.LetGoInherited(s.sight.Self)
	return s.notify, err
}

// stopToo stops a supervisor that stands for its first child together with that child if the
// terminal's Ctrl-Z (or a read in the background) stopped it: whoever waits for us must see the
// job stopped. A plain SIGSTOP does not: a tracee may have sent it, and would then wait for us.
func (s *supervisor) stopToo(t *task, signal unix.Signal) {
	if s.config.Pair == nil && t.TID() == s.child.PID && signal != unix.SIGSTOP {
		_ = unix.Kill(os.Getpid(), unix.SIGSTOP)
	}
}

// namespaceFirst says once why a builder's set-user-id program will be refused, and what works.
func (s *supervisor) namespaceFirst(path string) {
	if s.told || os.Geteuid() == 0 {
		return
	}
	s.told = true
	s.say("%s gains no rights under an ordinary user's supervisor; make the user namespace first, as in "+
		"`buildah unshare binproxy run -- COMMAND`, or name the builder itself: `binproxy run -- buildah ...`", path)
}

// debug prints a line on stderr in debug mode.
func (s *supervisor) debug(tid int, format string, args ...any) {
	if s.config.Debug {
		fmt.Fprintf(os.Stderr, "binproxy[%d]: %s\n", tid, fmt.Sprintf(format, args...))
	}
}

// say prints a line on stderr.
func (s *supervisor) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "binproxy: %s\n", fmt.Sprintf(format, args...))
}
