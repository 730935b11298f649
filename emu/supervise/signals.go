package supervise

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"

	"binproxy/emu/sys"
)

// Signals that reach the supervisor are meant for the command that it stands for, and are handed
// on to it. The terminal's are not: it sends them to the whole foreground group, and the command
// has got its own. A hangup is, if it came to the supervisor as the session's leader only.

// firstRealtime is the first real-time signal that C libraries and the Go runtime leave to
// programs.
const firstRealtime = 34

// forwarded lists the signals to be handed on. Those of the machine's exceptions are the process's
// own, SIGCHLD and SIGURG the Go runtime's and ours; SIGPIPE comes of our own writing only.
func forwarded() []unix.Signal {
	list := []unix.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM, unix.SIGTERM, unix.SIGCONT,
		unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU, unix.SIGXCPU, unix.SIGXFSZ, unix.SIGVTALRM, unix.SIGWINCH, unix.SIGIO, unix.SIGPWR}
	for n := unix.Signal(firstRealtime); n <= 64; n++ {
		list = append(list, n)
	}
	var taken []unix.Signal
	ignored, _ := sys.StartState()
	for _, s := range list {
		if ignored&(1<<(s-1)) == 0 {
			taken = append(taken, s)
		}
	}
	return taken
}

// forward takes the signals, and gives what starts handing them on to the first child once there
// is one.
func forward() (func(child int), error) {
	if !sys.CanTakeSignals {
		return forwardSome(), nil
	}
	f, err := sys.TakeSignals(forwarded())
	if err != nil {
		return nil, err
	}
	session, _ := unix.Getsid(0)
	leader := session == os.Getpid()
	return func(child int) {
		for {
			taken, err := sys.NextSignal(f)
			if err != nil {
				return
			}
			if !taken.FromKernel() || leader && taken.Signal == unix.SIGHUP {
				_ = unix.Kill(child, taken.Signal)
			}
		}
	}, nil
}

// forwardSome is for builds in which nobody knows who sent a signal: those that terminals send are
// kept, and only kept.
func forwardSome() func(child int) {
	signal.Notify(make(chan os.Signal, 1), unix.SIGINT, unix.SIGQUIT, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU)
	passed := make(chan os.Signal, 16)
	signal.Notify(passed, unix.SIGHUP, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM)
	return func(child int) {
		for taken := range passed {
			_ = unix.Kill(child, taken.(syscall.Signal))
		}
	}
}

// stopToo stops the supervisor with its first child, when the terminal's Ctrl-Z (or a read in the
// background) stopped that: whoever waits for us is to see the job stopped. A plain SIGSTOP does
// not: whoever sent it may be a tracee, which would wait for us then.
func (s *supervisor) stopToo(t *task, signal unix.Signal) {
	if t.TID() == s.child.PID && signal != unix.SIGSTOP {
		_ = unix.Kill(os.Getpid(), unix.SIGSTOP)
	}
}
