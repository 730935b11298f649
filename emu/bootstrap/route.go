package bootstrap

import (
	"fmt"
	"io/fs"
	"os"

	"binproxy/emu/arch"
	"binproxy/emu/binfmt"
	"binproxy/emu/emulator"
	"binproxy/emu/entrypoint"
	"binproxy/emu/exit"
	"binproxy/emu/supervise"
	"binproxy/emu/userns"
)

// The routes by which the programs of a root reach their emulator while it is made.
const (
	RouteUserns    = "userns"    // a binfmt_misc of the namespace's own, Linux 6.7 and later
	RouteSupervise = "supervise" // a supervisor over the bootstrapper and all that it starts
)

// CheckRoute refuses what is no route for a bootstrap; "" is the first one that works.
func CheckRoute(name string) error {
	switch name {
	case "", RouteUserns, RouteSupervise:
		return nil
	}
	return fmt.Errorf("--route %s: it is %s or %s", name, RouteUserns, RouteSupervise)
}

// open makes programs of the root run. Where the kernel is to do that, the caller goes on with the
// job; else the job is over: it was done under a supervisor, which this process was.
func (j *job) open() (over bool, err error) {
	if j.Route != RouteSupervise {
		err := userns.Register(j.Entries)
		if err == nil {
			return false, nil
		}
		if j.Route == RouteUserns {
			return true, err
		}
		fmt.Fprintf(os.Stderr, "binproxy: %v; a supervisor takes its place\n", err)
	}
	return true, j.supervised()
}

// supervised does the job in a child, with every exec of a program of the root routed.
func (j *job) supervised() error {
	entries := j.Entries
	j.Entries = nil
	argv, err := entrypoint.Argv(entrypoint.Bootstrap, j)
	if err != nil {
		return err
	}
	emulator := func(abi *arch.ABI) (emulator.Emulator, error) {
		for _, e := range entries {
			if e.Name == binfmt.Name(abi) {
				return emulator.Emulator{QEMU: abi.QEMU, Path: e.Interpreter}, nil
			}
		}
		return emulator.Emulator{}, fs.ErrNotExist
	}
	status, err := supervise.Run(supervise.Config{
		Command: entrypoint.Self, Argv: argv, Env: os.Environ(), Emulator: emulator,
		Guest: func(abi *arch.ABI) bool { _, err := emulator(abi); return err == nil },
	})
	if err != nil {
		return err
	}
	return exit.Ended(status)
}
