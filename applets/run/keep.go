package run

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"binproxy/emu/exit"
	"binproxy/emu/route"
	"binproxy/emu/supervise"
	"binproxy/emu/sys"
)

// Two processes run a command that keeps its process. Both are this program, started again with
// the same arguments: the original one becomes the command, and the other one its supervisor.

// half says which of the two this process is; nil for neither.
var half *halfOf

type halfOf struct {
	pair       supervise.Pair
	supervisor int   // 0 for itself
	refused    error // the reason if there is no other process
}

// keepable refuses what --keep-pid cannot do.
func (f *flagsOf) keepable() error {
	if f.keep && (f.report.asked() || f.root != "" && !sys.Capable(unix.CAP_SYS_CHROOT)) {
		return exit.Errorf(exit.Failed, "run: --keep-pid goes neither with --trace or --summary nor, for an ordinary user, with --root: "+
			"the command is this process itself, and whoever reports may not outlive it")
	}
	return nil
}

// keepsEntered keeps the process of a command that was started in its container from outside, as
// by docker exec: its parent is in no PID namespace of ours. What it leaves behind is not to end
// with it, but with the container.
func (f *flagsOf) keepsEntered() {
	if !f.keep && os.Getppid() == 0 && os.Getpid() != 1 {
		f.keep = true
		f.keep = f.keepable() == nil
	}
}

// split starts the program again as two processes.
func split() error {
	if err := sys.RoomForChild(); err != nil {
		return err
	}
	pair, err := supervise.NewPair()
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return sys.Exec(self, slices.Concat([]string{supervise.ForkName, pair.String()}, os.Args), os.Environ())
}

// Split is the entrypoint of both processes, "binproxy-command PAIR ARGV...". It gives the
// arguments that the program had before.
func Split(argv []string) ([]string, error) {
	byHand := exit.Errorf(exit.Failed, "%s is not to be called by hand", supervise.ForkName)
	if len(argv) < 3 {
		return nil, byHand
	}
	pair, err := supervise.ParsePair(argv[1])
	if err != nil {
		return nil, byHand
	}
	half = &halfOf{pair: pair}
	half.supervisor, half.refused = sys.Forked()
	if half.refused == nil && half.supervisor == 0 {
		argv = sys.TakeArguments()
	}
	return argv[2:], nil
}

// halved does start's work in each of the two processes.
func (f *flagsOf) halved(c supervise.Config) error {
	c.Pair = &half.pair
	if half.refused == nil && half.supervisor == 0 {
		return f.stand(c)
	}
	ask, err := f.ask(c)
	if err != nil {
		return err
	}
	if half.refused == nil {
		err = supervise.Keep(c, half.supervisor)
		c.Pair = nil
	} else {
		c.Pair.Close()
		c.Pair = nil
		fmt.Fprintln(os.Stderr, "binproxy: run: --keep-pid: the command is a child:", os.NewSyscallError("clone", half.refused))
		err = f.by(route.Choice{Route: route.Supervise}, c)
	}
	return f.orElse(err, ask, c)
}

// stand supervises the other process. Signals of the terminal and for the command's group are not
// meant for it.
func (f *flagsOf) stand(c supervise.Config) error {
	_, _ = unix.Setsid()
	_, err := f.supervised(c)
	if errors.As(err, new(*supervise.Refused)) {
		return exit.Silent(exit.Failed) // the other one reports the reason
	}
	return err
}
