// Package version tells which binproxy this is.
package version

import (
	"fmt"
	"runtime"

	"binproxy/applets/applet"
)

// Applet is the row of the table.
var Applet = applet.Applet{
	Name:     "version",
	Synopsis: "tell which binproxy this is",
	Usage:    "\n\nPrints the version, the Go release that built it, and the platform that it runs on.\n",
	Run: func([]string) error {
		fmt.Printf("binproxy %s %s %s/%s\n", applet.Version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
		return nil
	},
}
