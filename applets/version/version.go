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
	Usage:    "\n\nPrints the version, the Go release that built it, and the platform that it runs on.\n",
	Run: func(args []string) error {
		if operands, err := applet.NewFlags("version").Parse(args); err != nil {
			return err
		} else if len(operands) > 0 {
			return exit.Errorf(exit.Failed, "version: takes no operands; see binproxy help version")
		}
		fmt.Printf("binproxy %s %s %s/%s\n", applet.Version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
		return nil
	},
}
