// Package shim answers in place of a guest binary. A start of binproxy through a link is a shim's,
// one by its own name an applet's; this package finds out which, and chooses the shim. It runs at
// every exec through a farm: std only, no goroutine.
package shim

import (
	"path/filepath"

	"binproxy/emu/sys"
	"binproxy/shim/farm"
	"binproxy/shim/proxy"
	"binproxy/shim/sh"
	"binproxy/shim/uname"
)

// Main runs the shim that binproxy was called as. ok is false if it was called by its own name or
// by one that is not a shim's: that is an applet's start, and Main has done nothing.
func Main(argv, env []string) (ok bool, err error) {
	argv0 := ""
	if len(argv) > 0 {
		argv0 = argv[0]
	}
	call, err := farm.Locate(sys.Execfn(), argv0)
	name := call.Name()
	if call.Guest == "" && name != "sh" && name != "uname" {
		return false, nil
	}
	if err != nil {
		return true, err
	}
	proxy.Debug("called as %s (argv %q) for %s", call.Link, argv, call.Guest)
	switch filepath.Base(call.Link) {
	case "sh":
		return true, sh.Run(call, argv, env)
	case "uname":
		return true, uname.Run(call, argv)
	}
	return true, sh.Command(call, argv, env)
}
