// Package applet is what the rooms of the applets share: the row of the table, from which the
// command line is read and every help is made, and how flags are declared.
//
// A row is data without a life of its own: its commands name functions that declare flags. Only
// when a command starts, or its help is asked for, is a flag set made of them; so a shim, which
// links the table too, pays nothing for it.
package applet

import (
	"slices"
	"strings"

	"binproxy/emu/exit"
)

// Applet is one row of the table. Text is the paragraphs of its help, parted by empty lines; lines
// that begin with a space stay as they are.
type Applet struct {
	Name, Synopsis, Text string
	// one without a name; or one for each word that may stand behind the applet's name
	Commands []Command
}

// Command is something that an applet does.
type Command struct {
	// of one word or two; without a name it is the applet itself, and beside others what is meant
	// where a flag comes first
	Name string
	Args string // the usage behind the name; a line for each way to call it
	Text string // what it does, in the list of commands; one paragraph
	// the flags end at the first operand, where a COMMAND with arguments of its own begins;
	// otherwise they may stand before, between and behind the operands
	Leads bool
	// every argument is an operand, whatever it looks like: they are another program's
	Raw bool
	// flags that are not declared here are another program's: they stay among the operands
	Others bool
	// Flags declares the flags, and gives what runs with their values. It changes nothing and asks
	// the machine nothing: it is called for the help, too
	Flags func(f Flags) Run
	Run   Run // what a command without flags does
}

// Run is a command whose flags have been read.
type Run func(operands []string) error

// Start runs the command that the arguments name. It gives flag.ErrHelp where they ask for help.
func (a *Applet) Start(args []string) error {
	c, rest, err := a.find(args)
	if err != nil {
		return err
	}
	f, run := a.Declare(c)
	if c.Raw {
		return run(rest)
	}
	parse := f.Parse
	switch {
	case c.Leads:
		parse = f.ParseCommand
	case c.Others:
		parse = f.ParseOwn
	}
	operands, err := parse(rest)
	if err != nil {
		return err
	}
	return run(operands)
}

// Declare makes the flag set of a command, and what runs with it.
func (a *Applet) Declare(c *Command) (Flags, Run) {
	f := NewFlags(strings.TrimSuffix(a.Name+" "+c.Name, " "))
	if c.Flags == nil {
		return f, c.Run
	}
	return f, c.Flags(f)
}

// find gives the command that the arguments name, and the arguments behind its name.
func (a *Applet) find(args []string) (*Command, []string, error) {
	for i := range a.Commands {
		c := &a.Commands[i]
		words := strings.Fields(c.Name)
		if len(words) <= len(args) && slices.Equal(words, args[:len(words)]) &&
			(len(words) > 0 || len(a.Commands) == 1 || len(args) > 0 && strings.HasPrefix(args[0], "-")) {
			return c, args[len(words):], nil
		}
	}
	var names []string
	for _, c := range a.Commands {
		if c.Name != "" {
			names = append(names, c.Name)
		}
	}
	last := len(names) - 1
	if len(args) == 0 {
		return nil, nil, exit.Errorf(exit.Failed, "%s: say what to do: %s or %s; see binproxy help %[1]s", a.Name, strings.Join(names[:last], ", "), names[last])
	}
	return nil, nil, exit.Errorf(exit.Failed, "%s: %q is none of %s; see binproxy help %[1]s", a.Name, args[0], strings.Join(names, ", "))
}
