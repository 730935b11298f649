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
	"binproxy/emu/userns"
)

// Applet is the row of the table.
var Applet = applet.Applet{
	Name:     "binfmt",
	Synopsis: "show, make and prove binfmt_misc entries",
	Usage: `list | show NAME... | status [ARCH...]
       binproxy binfmt register|conf [FLAG...] ARCH...|--all
       binproxy binfmt unregister NAME...
       binproxy binfmt --userns [--root] [--arch ARCH[,ARCH...]] -- COMMAND [ARGUMENT...]

  list         every architecture: the entries that take its programs, and the emulator that is at hand
  show         entries, by their names or by an architecture's
  status       run a tiny program of each architecture that has an entry, whoever made it; say by which emulator,
               with which flags, and what does not work because of them. Fails where one does not run
  register     make entries, until the next boot. An entry that exists is never replaced
  conf         print the same as lines for /etc/binfmt.d, which systemd registers at boot
  unregister   remove the entries of these names, and no others
  --userns     run COMMAND in a user namespace with entries of its own; nothing outside is changed and no
               privilege is needed (Linux 6.7 and later)

  --fix=false             without F: the emulator is looked up at each exec, also in a chroot
  --preserve-argv0=false  without P: programs do not see what they were called by
  --credentials           with C: setuid programs get their rights. The emulator then runs with those rights:
                          whoever can make it misbehave is root. Only for emulators and roots that you trust
  --emulator [ARCH=]FILE  this emulator, a static one, instead of searching beside binproxy and in PATH
  --all                   every architecture that there is an emulator for
  --root                  with --userns: COMMAND is root in there, with your subordinate ids (/etc/subuid)
  --arch ARCH             with --userns: entries for these only; otherwise for all that there is an emulator for
`,
	Run: run,
}

func run(args []string) error {
	if len(args) == 0 {
		return exit.Errorf(exit.Failed, "binfmt: say what to do: list, show, status, register, unregister, conf or --userns; see binproxy help binfmt")
	}
	verbs := map[string]func([]string) error{"list": list, "show": show, "status": status, "register": register, "unregister": unregister, "conf": conf}
	if verb, ok := verbs[args[0]]; ok {
		return verb(args[1:])
	}
	if args[0] == userns.Entrypoint {
		return userns.Inside()
	}
	if strings.HasPrefix(args[0], "-") {
		return inNamespace(args)
	}
	return exit.Errorf(exit.Failed, "binfmt: %q is none of list, show, status, register, unregister, conf, --userns; see binproxy help binfmt", args[0])
}

func noFlags(verb string, args []string) ([]string, error) {
	return applet.NewFlags("binfmt " + verb).Parse(args)
}

func list(args []string) error {
	if _, err := noFlags("list", args); err != nil {
		return err
	}
	entries, err := entriesIfAny()
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	defer table.Flush()
	fmt.Fprintln(table, "ARCH\tENTRIES\tEMULATOR")
	for _, abi := range arch.All() {
		var names []string
		for _, e := range entries {
			if e.Serves(abi) {
				names = append(names, label(e))
			}
		}
		emulator := "native"
		if !abi.Native(arch.Host()) {
			if emulator, err = binfmt.Emulator(abi, ""); err != nil {
				emulator = "-"
			}
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", abi.Name, orDash(strings.Join(names, " ")), emulator)
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

func show(args []string) error {
	names, err := noFlags("show", args)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return exit.Errorf(exit.Failed, "binfmt show: name an entry or an architecture; binproxy binfmt list has them")
	}
	registry, err := binfmt.Host()
	if err != nil {
		return err
	}
	for _, name := range names {
		entries, err := called(registry, name)
		if err != nil {
			return err
		}
		for _, e := range entries {
			describe(e)
		}
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

func unregister(args []string) error {
	names, err := noFlags("unregister", args)
	if err != nil {
		return err
	}
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
