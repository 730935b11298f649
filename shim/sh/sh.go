// Package sh runs in place of /bin/sh: it runs the image's real shell, whichever that is, under a
// supervisor, or on another route with the farm in PATH. It passes the arguments, in every form
// that sh takes, to the shell unchanged.
package sh

import (
	"os"
	"strings"

	"binproxy/emu/config"
	"binproxy/emu/exit"
	"binproxy/emu/sys"
	"binproxy/shim/farm"
	"binproxy/shim/preload"
	"binproxy/shim/proxy"
)

// Shells are the places to look for an image's shells, if nothing says where they are.
var Shells = []string{"/bin/sh", "/usr/bin/sh", "/bin/dash", "/usr/bin/dash", "/bin/bash", "/usr/bin/bash", "/bin/busybox", "/usr/bin/busybox", "/bin/ash", "/bin/zsh", "/usr/bin/zsh"}

// Run execs the real shell, and returns only with an error: 127 if the image has none.
func Run(c farm.Call, argv, env []string) error {
	shell := c.Guest
	if shell == "" {
		shell = find(c.Root)
	}
	if shell == "" {
		return exit.Errorf(exit.NotFound, "%s: the image has no shell: looked for %s", c.Link, strings.Join(Shells, " "))
	}
	route := os.Getenv(RouteEnv)
	switch {
	case sys.Supervised():
		return proxy.Exec(c, shell, argv, env)
	case route == "preload":
		return preload.Exec(c, shell, argv, WithFarm(c, env))
	case route == "farm":
		return proxy.Exec(c, shell, argv, WithFarm(c, env))
	}
	return supervise(c, shell, argv, env)
}

// Command runs in place of any other command of the image: a container's first program, or a RUN
// line in exec form, which no shell starts. What it executes by built-in paths must be routed as
// well. On the routes without a supervisor each command finds its own way, and so gets only its
// emulator.
func Command(c farm.Call, argv, env []string) error {
	if route := os.Getenv(RouteEnv); route == "preload" || route == "farm" || sys.Supervised() {
		return proxy.Run(c, argv, env)
	}
	return supervise(c, c.Guest, argv, env)
}

// RouteEnv is the variable that names the route of a shell and of `binproxy run`; "" is auto.
const RouteEnv = "BINPROXY_ROUTE"

// supervise runs the program by `binproxy run`, which then routes every exec; if that is refused,
// the preload route or the farm takes its place.
func supervise(c farm.Call, program string, argv, env []string) error {
	if len(argv) == 0 {
		argv = []string{program}
	}
	run := append([]string{config.Binary, "run", "--argv0", argv[0], "--", program}, argv[1:]...)
	return exit.With(exit.CannotRun, sys.Exec(c.Root.Self, run, env))
}

// find looks for a shell if /bin/sh itself leads to binproxy and no real file was kept.
func find(root farm.Root) string {
	for _, shell := range Shells {
		if real, errno := root.Real(shell); errno == 0 && isShell(real, root.Self) {
			return real
		}
	}
	return ""
}

// isShell reports whether a file is a real shell, and not binproxy itself, which an ADD to /bin/sh
// may have copied there.
func isShell(path, self string) bool {
	fi, err := os.Stat(path)
	if err != nil || !fi.Mode().IsRegular() {
		return false
	}
	own, err := os.Stat(self)
	return err != nil || !os.SameFile(fi, own)
}

// WithFarm gives the environment with the farm's counterpart of each directory of its PATH in
// front of that directory. It adds no directory that is there already or has no counterpart, and
// no PATH to an environment without one.
func WithFarm(c farm.Call, env []string) []string {
	for i, entry := range env {
		path, ok := strings.CutPrefix(entry, "PATH=")
		if !ok {
			continue
		}
		if farmed := c.Root.Path(path); farmed != path {
			env = append([]string(nil), env...)
			env[i] = "PATH=" + farmed
		}
		break
	}
	return env
}
