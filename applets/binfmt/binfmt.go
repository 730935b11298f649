// Package binfmt is the applet for the kernel's registry of foreign program formats.
package binfmt

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"text/tabwriter"

	"binproxy/applets/applet"
	"binproxy/emu/arch"
	"binproxy/emu/binfmt"
	"binproxy/emu/exit"
)

// Applet is the row of the table.
var Applet = applet.Applet{
	Name:     "binfmt",
	Synopsis: "show, make and test binfmt_misc entries",
	Commands: []applet.Command{
		{Name: "list", Args: "[--json]", Text: "list every architecture: the entries that take its programs, and the emulator at hand", Flags: listFlags},
		{Name: "show", Args: "[--json] NAME...", Text: "show entries, by name or by architecture", Flags: showFlags},
		{Name: "status", Args: "[--json] [ARCH...]", Flags: statusFlags,
			Text: "run a tiny program of each architecture that has an entry; print its emulator, its flags, and what does not work because of them. Fails if one does not run"},
		{Name: "register", Args: "[FLAG...] ARCH...|--all", Flags: registerFlags, Text: "make entries, until the next boot; never replace an existing one"},
		{Name: "conf", Args: "[FLAG...] ARCH...|--all", Flags: confFlags, Text: "print the same as lines for /etc/binfmt.d, which systemd registers at boot"},
		{Name: "unregister", Args: "NAME...", Text: "remove the entries of these names, and no others", Run: unregister},
		{Args: "--userns [--root] [--arch ARCH[,ARCH...]] -- COMMAND [ARGUMENT...]", Leads: true, Flags: namespaceFlags},
	},
}

// listed is list's row for an architecture.
type listed struct {
	Arch     string   `json:"arch"`
	Platform string   `json:"platform,omitempty"` // if OCI has a name for it
	Native   bool     `json:"native"`             // the kernel runs its programs itself
	Entries  []string `json:"entries"`
	Emulator string   `json:"emulator,omitempty"`

	labels []string // the entries, with their flags
}

func listFlags(f applet.Flags) applet.Run {
	asJSON := f.Bool("json", false, applet.JSONUsage)
	return func([]string) error { return list(*asJSON) }
}

func list(asJSON bool) error {
	entries, err := entriesIfAny()
	if err != nil {
		return err
	}
	var all []listed
	for _, abi := range arch.All() {
		l := listed{Arch: abi.Name, Platform: abi.Platform(), Native: abi.Native(arch.Host()), Entries: []string{}}
		for _, e := range entries {
			if e.Serves(abi) {
				l.Entries = append(l.Entries, e.Name)
				l.labels = append(l.labels, label(e))
			}
		}
		if !l.Native {
			l.Emulator, _ = binfmt.Emulator(abi, "") // "" where there is none
		}
		all = append(all, l)
	}
	if asJSON {
		return applet.WriteJSON(os.Stdout, map[string]any{"architectures": all})
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	defer table.Flush()
	fmt.Fprintln(table, "ARCH\tENTRIES\tEMULATOR")
	for _, l := range all {
		if l.Native {
			l.Emulator = "native"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", l.Arch, orDash(strings.Join(l.labels, " ")), orDash(l.Emulator))
	}
	return nil
}

func entriesIfAny() ([]binfmt.Entry, error) {
	registry, err := binfmt.Host()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return registry.List()
}

func label(e binfmt.Entry) string {
	text := e.Name
	if e.Flags != "" {
		text += "(" + e.Flags + ")"
	}
	if e.Disabled {
		text += " disabled"
	}
	return text
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func showFlags(f applet.Flags) applet.Run {
	asJSON := f.Bool("json", false, applet.JSONUsage)
	return func(names []string) error { return show(names, *asJSON) }
}

func show(names []string, asJSON bool) error {
	if len(names) == 0 {
		return exit.Errorf(exit.Failed, "binfmt show: name an entry or an architecture; binproxy binfmt list has them")
	}
	registry, err := binfmt.Host()
	if err != nil {
		return err
	}
	shown := []entryJSON{}
	for _, name := range names {
		entries, err := called(registry, name)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if asJSON {
				shown = append(shown, describeJSON(e))
			} else {
				describe(e)
			}
		}
	}
	if asJSON {
		return applet.WriteJSON(os.Stdout, map[string]any{"entries": shown})
	}
	return nil
}

// called finds the entry of that name, or those that take the programs of the architecture of that
// name.
func called(registry binfmt.Registry, name string) ([]binfmt.Entry, error) {
	e, err := registry.Get(name)
	if err == nil {
		return []binfmt.Entry{e}, nil
	}
	abi, parseErr := arch.Parse(name)
	if parseErr != nil {
		return nil, exit.Errorf(exit.Failed, "binfmt: there is no entry %q, and no architecture of that name", name)
	}
	all, err := registry.List()
	var found []binfmt.Entry
	for _, e := range all {
		if e.Serves(abi) {
			found = append(found, e)
		}
	}
	if err == nil && len(found) == 0 {
		err = exit.Errorf(exit.Failed, "binfmt: no entry takes %s programs", abi.Name)
	}
	return found, err
}

func describe(e binfmt.Entry) {
	state := "enabled"
	if e.Disabled {
		state = "disabled"
	}
	fmt.Printf("%s: %s\n  interpreter  %s\n", e.Name, state, e.Interpreter)
	for _, f := range e.Flags {
		fmt.Printf("  flag %c       %s\n", f, binfmt.Explain(f))
	}
	if e.Extension != "" {
		fmt.Printf("  extension    .%s\n", e.Extension)
		return
	}
	fmt.Printf("  offset       %d\n  magic        %x\n", e.Offset, e.Magic)
	if len(e.Mask) > 0 {
		fmt.Printf("  mask         %x\n", e.Mask)
	}
	for _, abi := range e.ABIs() {
		fmt.Printf("  takes        %s\n", abi.Name)
	}
}

func unregister(names []string) error {
	if len(names) == 0 {
		return exit.Errorf(exit.Failed, "binfmt unregister: name the entries; nothing is removed that was not named")
	}
	registry, err := binfmt.Host()
	if err != nil {
		return err
	}
	var failures []error
	for _, name := range names {
		if name == "WSLInterop" {
			failures = append(failures, errors.New("entry WSLInterop: it runs Windows programs for WSL, which needs it; it stays"))
			continue
		}
		failures = append(failures, registry.Unregister(name))
	}
	return errors.Join(failures...)
}
