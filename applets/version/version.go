// Package version tells which binproxy this is.
package version

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"binproxy/applets/applet"
)

// Version is set by the linker (see the Makefile); a plain `go install` leaves Go's build info to tell it.
var Version string

// Applet is the row of the table.
var Applet = applet.Applet{
	Name:     "version",
	Synopsis: "tell which binproxy this is",
	Usage:    "\n\nPrints the version, the Go release that built it, and the platform that it runs on.\n",
	Run: func([]string) error {
		fmt.Printf("binproxy %s %s %s/%s\n", String(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
		return nil
	},
}

// String is the version: the linker's, else the module's, else "devel".
func String() string {
	if Version != "" {
		return Version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "devel"
}
