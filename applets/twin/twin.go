// Package twin is the applet that makes and checks directories of twins.
package twin

import (
	"fmt"
	"strings"

	"binproxy/applets/applet"
	"binproxy/emu/arch"
	"binproxy/emu/exit"
	"binproxy/emu/twin"
	"binproxy/emu/twin/pack"
)

// Applet is the row of the table.
var Applet = applet.Applet{
	Name:     "twin",
	Synopsis: "pack host-native programs that stand in for the guest's, and check them",
	Usage: `pack [--for ARCH[,ARCH...]] [--set SET[,SET...]] [--root DIR] [-o DIR] [PROGRAM...]
       binproxy twin verify [--root DIR] [--twins DIR] [PROGRAM|SET...]
       binproxy twin list

A twin is a program of this host that a supervised run executes in the place of the same program of the guest, of the
same version: what is the same on both sides runs at native speed. docs/twins.md tells when.

pack takes programs of this host with their loader and libraries into DIR (default: twins): those of the sets and
programs that are named, everything that a rule allows where none is; gcc stands for what it starts.

  --for ARCH           the guest architectures, for compilers (default: all that this host has cross compilers for)
  --set SET            compilers, compressors, text, packages, apt, git
  --root DIR           a guest's root directory: leave out what does not match the versions of its programs
  -o DIR               where to; twins that are there already are replaced

verify compares each file of the twins with its checksum, and then runs each twin and its guest original on the same
inputs, in a directory that it makes in the guest's /tmp: output, exit status and files have to be the same bytes. It
ends with status 1 where they are not.

  --root DIR           the guest's root directory (default: /, in a container)
  --twins DIR          the twins (default: twins)

list prints the rules: which programs may have a twin, which never, and why.
`,
	Run: run,
}

func run(args []string) error {
	if len(args) == 0 {
		return exit.Errorf(exit.Failed, "twin: say pack, verify or list; see binproxy help twin")
	}
	switch args[0] {
	case "pack":
		return runPack(args[1:])
	case "verify":
		return runVerify(args[1:])
	case "list":
		return list(args[1:])
	}
	return exit.Errorf(exit.Failed, "twin: %q is neither pack, verify nor list; see binproxy help twin", args[0])
}

func runPack(args []string) error {
	flags := applet.NewFlags("twin")
	archs := flags.Names("for")
	sets := flags.Names("set")
	root := flags.String("root", "", "")
	out := flags.String("o", twin.DirName, "")
	names, err := flags.Parse(args)
	if err != nil {
		return err
	}
	o := pack.Options{Root: *root, ABIs: pack.Guests(), Names: names}
	if *archs != "" {
		if o.ABIs, err = arch.ParseList(*archs); err != nil {
			return err
		}
	}
	if *sets != "" {
		o.Names = append(o.Names, strings.Split(*sets, ",")...)
	}
	r, err := pack.Make(*out, o)
	if err != nil {
		return exit.Errorf(exit.Failed, "twin: %w", err)
	}
	Report(r, *out)
	return nil
}

// Report prints what was packed.
func Report(r pack.Result, dir string) {
	for _, t := range r.Set.Twins {
		fmt.Printf("%9s  %-12s %-8s %s %s\n", applet.Size(t.Size), t.Name, t.ABI, t.Package, t.Version)
	}
	for _, s := range r.Skipped {
		fmt.Printf("%9s  %-12s %s\n", "left out", s.Name, s.Why)
	}
	fmt.Printf("%9s  %s: %d twins, %d files that they share\n", applet.Size(r.Size), dir, len(r.Set.Twins), len(r.Set.Files))
}

func list(args []string) error {
	if len(args) > 0 {
		return exit.Errorf(exit.Failed, "twin: list takes no argument")
	}
	for _, never := range []bool{false, true} {
		for _, r := range twin.Rules() {
			if r.Never != never {
				continue
			}
			kind := "may   " + r.Set
			if never {
				kind = "never"
			}
			fmt.Printf("%s: %s\n    %s\n", kind, strings.Join(r.Names, " "), r.Why)
		}
	}
	return nil
}
