// Package applet is what the rooms of the applets share: the row of the table, by which the
// command line is read and all help is made, and how flags are declared.
//
// A row is only data: its commands name functions that declare flags. A flag set is made of them
// when a command starts, or when its help is asked for; so a shim, which links the table too, does
// not pay for it.
package applet

import (
	"slices"
	"strings"

	"binproxy/emu/exit"
)

// Applet is one row of the table. Text is the paragraphs of its help, separated by empty lines;
// lines that begin with a space stay as they are.
type Applet struct {
	Name, Synopsis, Text string
	// one without a name; or one for each word that may follow the applet's name
	Commands []Command
}

// Command is one of the things that an applet does.
type Command struct {
	// one or two words; without a name it is the applet itself, and among others the one that is
	// meant if a flag comes first
	Name string
	Args string // the usage after the name; a line for each way to call it
	Text string // what it does, in the list of commands; one paragraph
	// the flags end at the first operand, where a COMMAND with its own arguments begins; otherwise
	// they may come before, between and after the operands
	Leads bool
	// every argument is an operand, whatever it looks like: they are for another program
	Raw bool
	// flags that are not declared here are for another program: they stay among the operands
	Others bool
	// Flags declares the flags, and returns what runs with their values. It is called for the
	// help, too, so it changes nothing and asks the machine nothing
	Flags func(f Flags) Run
	Run   Run // what a command without flags does
}

// Run runs a command whose flags have been read.
type Run func(operands []string) error

// Start runs the command that the arguments name. It returns flag.ErrHelp if they ask for help.
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

// Declare makes the flag set of a command, and the function that runs with it.
func (a *Applet) Declare(c *Command) (Flags, Run) {
	f := NewFlags(strings.TrimSuffix(a.Name+" "+c.Name, " "))
	if c.Flags == nil {
		return f, c.Run
	}
	return f, c.Flags(f)
}

// find gives the command that the arguments name, and the arguments after its name.
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
