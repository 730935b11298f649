// Package runtime is the applet that stands in for an OCI runtime.
package runtime

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"binproxy/applets/applet"
	"binproxy/emu/exit"
	"binproxy/emu/runtime"
)

// Applet is the row of the table.
var Applet = applet.Applet{
	Name:     "runtime",
	Synopsis: "be an OCI runtime that runs containers of another architecture by runc or crun",
	Text: `
Engines call it in place of runc, best by a link of the name binproxy-runtime that leads to the
binproxy of a bundle. A container whose program is of another architecture gets the bundle mounted,
read-only, and its program run by it; then the real runtime is executed with the same arguments.
All else reaches the real runtime unchanged.

Annotations of a container set options of binproxy run in it: binproxy.release,
binproxy.route, binproxy.twins.
`,
	Commands: []applet.Command{{Args: "[--runtime FILE] [RUNTIME-ARGUMENT...]", Raw: true, Flags: flags}},
}

// summaryEnv asks for the costliest commands of each process, as `binproxy build --summary` does.
const summaryEnv = "BINPROXY_SUMMARY"

// realEnv names the real runtime.
const realEnv = "BINPROXY_RUNTIME"

// flags declares our only flag. The others are the real runtime's, and run reads them.
func flags(f applet.Flags) applet.Run {
	f.String("runtime", "", "`FILE` the real runtime (default: BINPROXY_RUNTIME, else runc, else crun); it has to be the first argument")
	return run
}

func run(args []string) error {
	w := runtime.Wrapper{Real: os.Getenv(realEnv), Summary: os.Getenv(summaryEnv) == "1"}
	if name := filepath.Base(os.Args[0]); w.Real == "" && IsRuntime(name) {
		w.Real = name
	}
	if len(args) > 0 {
		value, joined := strings.CutPrefix(args[0], "--runtime=")
		switch {
		case joined:
			w.Real, args = value, args[1:]
		case args[0] == "--runtime" && len(args) > 1:
			w.Real, args = args[1], args[2:]
		}
	}
	self, err := os.Executable()
	if err == nil {
		w.Bundle = filepath.Dir(self)
		err = w.Exec(args)
	}
	return exit.With(exit.Failed, wrapped(err))
}

// IsRuntime reports whether a name is that of a runtime whose place the applet may take.
func IsRuntime(name string) bool { return name == "runc" || name == "crun" }

func wrapped(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("runtime: %w", err)
}
