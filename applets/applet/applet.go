// Package applet is what the rooms of the applets share: the row of the table, and how flags are
// read.
package applet

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"binproxy/emu/exit"
	"binproxy/emu/identity"
)

// Applet is one row of the table. Usage holds the lines after "Usage: binproxy NAME ": the
// synopsis of the arguments first, then an empty line and the text.
type Applet struct {
	Name, Synopsis, Usage string
	Run                   func(args []string) error
}

// Help is what `binproxy help NAME` prints.
func (a Applet) Help() string {
	return fmt.Sprintf("%s: %s\n\nUsage: binproxy %s %s\n", a.Name, a.Synopsis, a.Name, strings.TrimRight(a.Usage, "\n"))
}

// Flags is a flag set that takes flags before, between and behind the operands, up to a "--".
type Flags struct {
	*flag.FlagSet
}

// NewFlags starts the flags of an applet.
func NewFlags(name string) Flags {
	set := flag.NewFlagSet(name, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	return Flags{set}
}

// Parse reads the flags and returns the operands. What it does not know ends with status 125 and a
// hint.
func (f Flags) Parse(args []string) ([]string, error) {
	var operands []string
	for {
		if err := f.parse(args); err != nil {
			return nil, err
		}
		rest := f.Args()
		if len(rest) == 0 {
			return operands, nil
		}
		if ended := len(args) - len(rest); ended > 0 && args[ended-1] == "--" {
			return append(operands, rest...), nil
		}
		operands, args = append(operands, rest[0]), rest[1:]
	}
}

// ParseCommand reads the flags up to the first operand or "--", where a COMMAND with arguments of
// its own begins.
func (f Flags) ParseCommand(args []string) ([]string, error) {
	err := f.parse(args)
	return f.Args(), err
}

// parse gives flag.ErrHelp for -h and --help, which whoever called the applet answers.
func (f Flags) parse(args []string) error {
	err := f.FlagSet.Parse(args)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return err
	}
	applet, _, _ := strings.Cut(f.Name(), " ")
	return exit.Errorf(exit.Failed, "%s: %w; see binproxy help %s", f.Name(), err, applet)
}

// Identity adds the flags of the uname identity.
func (f Flags) Identity(i *identity.Identity) {
	f.StringVar(&i.Release, "release", "", "")
	f.StringVar(&i.Sysname, "sysname", "", "")
	f.StringVar(&i.Nodename, "nodename", "", "")
	f.StringVar(&i.Version, "kernel-version", "", "")
	f.StringVar(&i.Machine, "machine", "", "")
}

// Names adds a flag for a list with commas that may be given several times: what each adds is
// joined.
func (f Flags) Names(name string) *string {
	var all string
	f.Func(name, "", func(s string) error {
		all = strings.TrimPrefix(all+","+s, ",")
		return nil
	})
	return &all
}

// List is a flag that may be given several times.
type List []string

func (l *List) String() string     { return strings.Join(*l, " ") }
func (l *List) Set(s string) error { *l = append(*l, s); return nil }
