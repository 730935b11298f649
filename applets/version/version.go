// Package version tells which binproxy this is.
package version

import (
	"fmt"
	"runtime"

	"binproxy/applets/applet"
	"binproxy/emu/exit"
)

// Applet is the row of the table.
var Applet = applet.Applet{
	Name:     "version",
	Synopsis: "tell which binproxy this is",
	Text:     "Prints the version, the Go release that built it, and the platform that it runs on.",
	Commands: []applet.Command{{Run: run}},
}

func run(operands []string) error {
	if len(operands) > 0 {
		return exit.Errorf(exit.Failed, "version: takes no operands; see binproxy help version")
	}
	fmt.Printf("binproxy %s %s %s/%s\n", applet.Version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}
