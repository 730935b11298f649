package container

import (
	"os"
	"os/signal"
	"syscall"

	"binproxy/emu/exit"
	"binproxy/emu/sys"
)

// caught are the signals since catch. A process that sends a deputy catches signals first, so that
// none ends it and leaves the deputy behind. The deputy inherits no handler, unlike in
// emu/signals: a signal ends it, and the command is not started.
type caught chan os.Signal

// catch begins to hold back the signals that wait passes on.
func catch() caught {
	signals := make(caught, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	return signals
}

// wait waits for the child, passes on the signals that a terminal does not send to both, and
// returns the child's exit status as an error.
func (signals caught) wait(child int) error {
	done := make(chan struct{})
	defer close(done)
	go func() {
		for {
			select {
			case s := <-signals:
				if s != syscall.SIGINT && s != syscall.SIGQUIT {
					_ = sys.Kill(child, s.(syscall.Signal))
				}
			case <-done:
				return
			}
		}
	}()
	_, status, err := sys.WaitChild(child, 0)
	if err != nil {
		return os.NewSyscallError("wait4", err)
	}
	return exit.Ended(status)
}

// stop restores the usual effect of the signals.
func (signals caught) stop() { signal.Stop(signals) }
