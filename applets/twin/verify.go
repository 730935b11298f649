package twin

import (
	"fmt"
	"os"
	"path/filepath"

	"binproxy/applets/applet"
	"binproxy/emu/exit"
	"binproxy/emu/twin"
	"binproxy/emu/twin/verify"
)

func verifyFlags(f applet.Flags) applet.Run {
	root := f.String("root", "/", "`DIR` the guest's root directory; / inside a container")
	dir := f.String("twins", twin.DirName, "`DIR` the twins")
	return func(names []string) error { return runVerify(names, *root, *dir) }
}

func runVerify(names []string, root, dir string) (err error) {
	if names, err = twin.Programs(names); err != nil {
		return exit.Errorf(exit.Failed, "twin: %w", err)
	}
	o := verify.Options{Names: names}
	if o.Self, err = os.Executable(); err != nil {
		return err
	}
	if o.Root, err = filepath.Abs(root); err != nil {
		return err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	if o.Set, err = twin.Load(dir); err != nil {
		return exit.Errorf(exit.Failed, "twin: %w", err)
	}
	outcomes, err := verify.Verify(o)
	if err != nil {
		return exit.Errorf(exit.Failed, "twin: %w", err)
	}
	return print(outcomes)
}

// print prints the result for each twin; the error has the status for twins that differ.
func print(outcomes []verify.Outcome) error {
	var same, differ, idle int
	for _, o := range outcomes {
		switch {
		case len(o.Differs) > 0:
			differ++
			fmt.Printf("differs   %s\n", o.Name)
			for _, line := range o.Differs {
				fmt.Printf("          %s\n", line)
			}
		case o.Tries == 0:
			idle++
			fmt.Printf("not run   %s: %s\n", o.Name, o.Why)
		default:
			same++
			fmt.Printf("same      %s\n", o.Name)
		}
	}
	fmt.Printf("%d twins are the same as their originals, %d differ, %d did not run\n", same, differ, idle)
	if differ > 0 {
		return exit.Silent(1)
	}
	return nil
}
