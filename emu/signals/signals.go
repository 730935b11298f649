// Package signals passes on to a child the signals that reach us in its place.
//
// A process that stands for a command gets the signals that are meant for the command, and passes
// them on. It does not pass on a terminal's signals: the terminal sends them to the whole
// foreground group, so the command has its own. It passes on a hangup that came to us alone, as
// the session's leader.
package signals

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"

	"binproxy/emu/sys"
)

// firstRealtime is the first real-time signal that C libraries and the Go runtime leave to
// programs.
const firstRealtime = 34

// forwarded lists the signals to pass on. The signals of machine exceptions are the process's own,
// SIGCHLD and SIGURG are the Go runtime's and ours, and SIGPIPE comes only from our own writing.
func forwarded(stops []unix.Signal) []unix.Signal {
	list := append([]unix.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM, unix.SIGTERM, unix.SIGCONT,
		unix.SIGXCPU, unix.SIGXFSZ, unix.SIGVTALRM, unix.SIGWINCH, unix.SIGIO, unix.SIGPWR}, stops...)
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

// Stops are the signals of job control. A process that does not catch them is stopped by a
// terminal together with its child. A tracer catches them, since its tracees wait for it.
var Stops = []unix.Signal{unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU}

// Forward catches the signals, and returns a function that passes them on to a child once there is
// one, for the rest of our life. stops are further signals to catch: Stops, or none.
func Forward(stops ...unix.Signal) (func(child int), error) {
	if !sys.CanTakeSignals {
		return forwardSome(stops), nil
	}
	f, err := sys.TakeSignals(forwarded(stops))
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
				_ = sys.Kill(child, taken.Signal)
			}
		}
	}, nil
}

// forwardSome is for builds in which the sender of a signal is unknown: it catches the signals
// that terminals send, but does not pass them on.
func forwardSome(stops []unix.Signal) func(child int) {
	kept := make(chan os.Signal, 1)
	signal.Notify(kept, unix.SIGINT, unix.SIGQUIT)
	for _, s := range stops {
		signal.Notify(kept, s)
	}
	passed := make(chan os.Signal, 16)
	signal.Notify(passed, unix.SIGHUP, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM)
	return func(child int) {
		for taken := range passed {
			_ = sys.Kill(child, taken.(syscall.Signal))
		}
	}
}
