// Package proxy runs in place of a guest command: it finds the guest's file and execs the emulator
// on it, in the same process. So PID, signals, open files and exit status are the guest's own.
package proxy

import (
	"fmt"
	"os"

	"binproxy/emu/emulator"
	"binproxy/emu/exit"
	"binproxy/emu/identity"
	"binproxy/emu/resolve"
	"binproxy/emu/sys"
	"binproxy/shim/farm"
)

// Run execs the guest file that the call's link stands for, and returns only with an error.
func Run(c farm.Call, argv, env []string) error {
	return Exec(c, c.Guest, argv, env)
}

// Exec execs the program at path as the kernel would, guest programs through their emulator. It
// returns only with an error: 126 or 127, as in a shell.
func Exec(c farm.Call, path string, argv, env []string) error {
	req := resolve.Request{Path: path, NoArgv: len(argv) == 0}
	if len(argv) > 0 {
		req.Argv0 = argv[0]
	}
	plan, errno := Resolver(c).Resolve(c.Root, req)
	if errno != 0 {
		return failed(path, errno)
	}
	program, prefix := plan.File.Path, plan.Prefix
	if !plan.Native() {
		e, err := c.Config.Emulator(plan.ABI)
		if err != nil {
			return exit.Errorf(exit.CannotRun, "%s: %w", path, err)
		}
		program = e.Program()
		prefix, env = Emulated(e, plan, identity.Configured(c.Config.Identity, os.Getenv).Release, env)
	}
	full := append(prefix, argv[min(1, len(argv)):]...)
	Debug("exec %s %q", program, full)
	return failed(program, sys.Errno(sys.Exec(program, full, env)))
}

// Resolver distinguishes guests from natives for the bundle: a guest is a program that the host's
// kernel cannot load, or that the bundle has an emulator for.
func Resolver(c farm.Call) resolve.Resolver { return farm.Resolver(c.Config) }

// Emulated is the emulator's argument vector for the plan, up to the caller's argv[1], and the
// emulator's own part of the environment.
func Emulated(e emulator.Emulator, plan resolve.Plan, release string, env []string) (argv, rest []string) {
	c := emulator.Call[string]{Argv0: plan.Prefix[0], Release: release, File: plan.File.Path}
	c.Variables, rest = e.Part(env)
	return append(e.Argv(c), plan.Prefix[1:]...), rest
}

func failed(path string, err error) error {
	return exit.Errorf(exit.OfExec(err), "%s: %w", path, err)
}

// Debug prints a line on stderr if BINPROXY_DEBUG is set. Only the guest writes to stdout.
func Debug(format string, args ...any) {
	if os.Getenv("BINPROXY_DEBUG") != "" {
		fmt.Fprintf(os.Stderr, "binproxy["+fmt.Sprint(os.Getpid())+"]: "+format+"\n", args...)
	}
}
