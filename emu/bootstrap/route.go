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

// These are the routes from a root's programs to their emulator while the root is made.
const (
	RouteUserns    = "userns"    // a binfmt_misc of the namespace's own, Linux 6.7 and later
	RouteSupervise = "supervise" // a supervisor over the bootstrapper and all its children
)

// CheckRoute refuses a word that is no route for a bootstrap; "" means the first that works.
func CheckRoute(name string) error {
	switch name {
	case "", RouteUserns, RouteSupervise:
		return nil
	}
	return fmt.Errorf("--route %s: it is %s or %s", name, RouteUserns, RouteSupervise)
}

// open makes programs of the root run. If the kernel can do that, the caller goes on with the job;
// else the job is done already, under a supervisor, which was this process.
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

// supervised does the job in a child; every exec of a program of the root is routed.
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
