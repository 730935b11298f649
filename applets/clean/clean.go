// Package clean is the applet that removes everything that install made, and the bundle itself
// last.
package clean

import (
	"fmt"
	"os"

	"binproxy/applets/applet"
	"binproxy/emu/exit"
	"binproxy/shim/farm"
)

// Applet is the row of the table.
var Applet = applet.Applet{
	Name:     "clean",
	Synopsis: "remove everything that install made, and binproxy itself",
	Text: `
Puts the real files back in their places, removes the farm, and then the bundle: its program,
emulators, libraries, links and configuration. A command that a newer file has
replaced stays the newer file; other files in the bundle's directory stay, and are named. A program
outside a bundle is not removed.
`,
	Commands: []applet.Command{{Run: run}},
}

func run(operands []string) error {
	if len(operands) > 0 {
		return exit.Errorf(exit.Failed, "clean: takes no operands: it takes everything away; see binproxy help clean")
	}
	cfg, err := farm.Bundle(os.Args)
	if err != nil {
		return exit.Errorf(exit.Failed, "clean: %w", err)
	}
	done, err := farm.Clean(cfg)
	for _, remark := range done.Remarks {
		fmt.Println("binproxy clean:", remark)
	}
	if err != nil {
		return exit.Errorf(exit.Failed, "clean: %w", err)
	}
	fmt.Printf("binproxy clean: %d files back in place, %d farm links and the bundle %s removed\n", done.Restored, done.Links, farm.Display(cfg.Dir))
	return nil
}
