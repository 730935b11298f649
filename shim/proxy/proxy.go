// Package proxy stands in a guest command's place: it finds the guest's file and execs the
// emulator on it, in the same process. PID, signals, open files and exit status are so the guest's
// own.
package proxy

import (
	"fmt"
	"os"
	"strings"

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

// Exec execs the program at path as the kernel would, guest programs through their emulator, and
// returns only with an error: 126 or 127, as a shell has them.
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
		emulator, err := c.Config.Emulator(plan.ABI)
		if err != nil {
			return exit.Errorf(exit.CannotRun, "%s: %w", path, err)
		}
		var options []string
		options, env = Options(c.Config.Identity, emulator.Loader != "", env)
		program, prefix = resolve.Program(emulator), plan.EmulatorArgv(emulator, options...)
	}
	full := append(prefix, argv[min(1, len(argv)):]...)
	Debug("exec %s %q", program, full)
	return failed(program, sys.Errno(sys.Exec(program, full, env)))
}

// Resolver tells guests from natives for the bundle: a guest is what the host's kernel cannot
// load, or what the bundle has an emulator for.
func Resolver(c farm.Call) resolve.Resolver { return farm.Resolver(c.Config) }

// Options are the emulator's options for the release that the guest is to see, and the environment
// to give the emulator. A dynamic emulator would obey the guest's LD_ variables itself: they go to
// the guest alone; but for values with a comma, which QEMU's -E would split.
func Options(configured identity.Identity, dynamic bool, env []string) (options, rest []string) {
	release := identity.Spoofed(configured, os.Getenv).Release
	if release != "" {
		options = append(options, "-r", release)
	}
	if !dynamic {
		return options, env
	}
	for _, entry := range env {
		if (strings.HasPrefix(entry, "LD_") || strings.HasPrefix(entry, "GLIBC_TUNABLES=")) && !strings.Contains(entry, ",") {
			options = append(options, "-E", entry)
		} else {
			rest = append(rest, entry)
		}
	}
	return options, rest
}

func failed(path string, err error) error {
	return exit.Errorf(exit.OfExec(err), "%s: %w", path, err)
}

// Debug prints a line on stderr when BINPROXY_DEBUG is set. Stdout is the guest's alone.
func Debug(format string, args ...any) {
	if os.Getenv("BINPROXY_DEBUG") != "" {
		fmt.Fprintf(os.Stderr, "binproxy["+fmt.Sprint(os.Getpid())+"]: "+format+"\n", args...)
	}
}
