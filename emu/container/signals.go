package container

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"

	"binproxy/emu/exit"
	"binproxy/emu/sys"
)

// caught are the signals that came since catch; who sends a deputy catches them first, so that
// none ends us and leaves it. It takes no handler of ours along, as emu/signals has one: a signal
// ends the deputy, and the command is not started.
type caught chan os.Signal

// catch begins to hold back the signals that wait hands on.
func catch() caught {
	signals := make(caught, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	return signals
}

// wait waits for the child, hands on the signals that a terminal does not send to both, and gives
// the child's exit status as the error's.
func (signals caught) wait(child int) error {
	done := make(chan struct{})
	defer close(done)
	go func() {
		for {
			select {
			case s := <-signals:
				if s != syscall.SIGINT && s != syscall.SIGQUIT {
					_ = unix.Kill(child, s.(syscall.Signal))
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

// stop gives the signals their usual effect again.
func (signals caught) stop() { signal.Stop(signals) }
