// Package twin is the applet that makes and checks directories of twins.
package twin

import (
	"fmt"
	"os"
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
	Text: `
A twin is a program of this host that a supervised run executes in the place of the same program of
the guest, of the same version: what is the same on both sides runs at native speed. docs/twins.md
says when. A SET is one of compilers, compressors, text, packages, apt and git.
`,
	Commands: []applet.Command{
		{Name: "pack", Args: "[FLAG...] [PROGRAM...]", Flags: packFlags,
			Text: "copy programs of this host, with their loader and libraries, into a directory: the named sets and programs, or everything that a rule allows; gcc stands for what it starts"},
		{Name: "verify", Args: "[--root DIR] [--twins DIR] [PROGRAM|SET...]", Flags: verifyFlags,
			Text: "compare each file of the twins with its checksum, and then run each twin and its guest original on the same inputs, in a directory that it makes in the guest's /tmp: output, exit status and files have to be the same bytes. Exit status 1 if they are not"},
		{Name: "list", Args: "[--json]", Flags: listFlags, Text: "print the rules: which programs may have a twin, which never, and why"},
	},
}

// packing are the flags of pack.
type packing struct {
	archs, sets *string
	root, out   string
}

func packFlags(f applet.Flags) applet.Run {
	var p packing
	p.archs = f.Archs("for", "`ARCH[,ARCH...]` the guest architectures, for compilers (default: all that this host has cross compilers for)")
	p.sets = f.Names("set", "`SET[,SET...]` the programs of these sets; go=GOROOT and go=VERSION stand for a Go toolchain")
	f.StringVar(&p.root, "root", "", "`DIR` a guest's root directory: leave out what does not match the versions of its programs")
	f.StringVar(&p.out, "o", twin.DirName, "`DIR` the directory to make; replaces twins that are there")
	return p.run
}

func (p *packing) run(names []string) (err error) {
	o := pack.Options{Root: p.root, ABIs: pack.Guests(), Names: names}
	if *p.archs != "" {
		if o.ABIs, err = arch.ParseList(*p.archs); err != nil {
			return err
		}
	}
	if *p.sets != "" {
		for _, set := range strings.Split(*p.sets, ",") {
			if toolchain, ok := strings.CutPrefix(set, "go="); ok {
				o.Go = append(o.Go, toolchain)
			} else {
				o.Names = append(o.Names, set)
			}
		}
	}
	r, err := pack.Make(p.out, o)
	if err != nil {
		return exit.Errorf(exit.Failed, "twin: %w", err)
	}
	Report(r, p.out)
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

// ruleJSON is a rule in list --json.
type ruleJSON struct {
	Set   string   `json:"set"`
	Names []string `json:"names"`
	Never bool     `json:"never"`
	Why   string   `json:"why"`
}

func listFlags(f applet.Flags) applet.Run {
	asJSON := f.Bool("json", false, applet.JSONUsage)
	return func(operands []string) error { return list(operands, *asJSON) }
}

func list(operands []string, asJSON bool) error {
	if len(operands) > 0 {
		return exit.Errorf(exit.Failed, "twin list: takes no operands; see binproxy help twin")
	}
	var rules []ruleJSON
	for _, never := range []bool{false, true} {
		for _, r := range twin.Rules() {
			if r.Never == never {
				rules = append(rules, ruleJSON{r.Set, r.Names, r.Never, r.Why})
			}
		}
	}
	if asJSON {
		return applet.WriteJSON(os.Stdout, map[string]any{"rules": rules})
	}
	for _, r := range rules {
		kind := "may   " + r.Set
		if r.Never {
			kind = "never"
		}
		fmt.Printf("%s: %s\n    %s\n", kind, strings.Join(r.Names, " "), r.Why)
	}
	return nil
}
