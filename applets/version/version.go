// Package version prints which binproxy this is.
package version

import (
	"fmt"
	"os"
	"runtime"

	"binproxy/applets/applet"
	"binproxy/emu/exit"
)

// Applet is the row of the table.
var Applet = applet.Applet{
	Name:     "version",
	Synopsis: "print the version",
	Text:     "Prints the version, the Go release that built it, and the platform that it runs on.",
	Commands: []applet.Command{{Args: "[--json]", Flags: flags}},
}

// report is what --json prints.
type report struct {
	Version  string `json:"version"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func flags(f applet.Flags) applet.Run {
	asJSON := f.Bool("json", false, applet.JSONUsage)
	return func(operands []string) error { return run(operands, *asJSON) }
}

func run(operands []string, asJSON bool) error {
	if len(operands) > 0 {
		return exit.Errorf(exit.Failed, "version: takes no operands; see binproxy help version")
	}
	r := report{applet.Version(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
	if asJSON {
		return applet.WriteJSON(os.Stdout, r)
	}
	_, err := fmt.Println("binproxy", r.Version, r.Go, r.Platform)
	return err
}
