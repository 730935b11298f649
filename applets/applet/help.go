package applet

import (
	"flag"
	"fmt"
	"slices"
	"strings"
)

// columns is the width of a terminal for the help, and term that of the column with the names.
const (
	columns = 80
	term    = 22
)

// Section is a part of the help that lists names with their meanings: commands, or flags.
type Section struct {
	Heading string
	Items   []Item
}

// Item is a command's name, or a flag with its value as on a command line: --root DIR.
type Item struct{ Name, Text string }

// Usage lists the ways to call the applet, a line for each.
func (a *Applet) Usage() []string {
	var lines []string
	for _, c := range a.Commands {
		for args := range strings.SplitSeq(c.Args, "\n") {
			lines = append(lines, strings.Join(strings.Fields("binproxy "+a.Name+" "+c.Name+" "+args), " "))
		}
	}
	return lines
}

// Sections lists the commands, if they have names, and then the flags. Flags that several commands
// share come once.
func (a *Applet) Sections() []Section {
	commands := Section{Heading: "Commands"}
	var flags []Section
	for i := range a.Commands {
		c := &a.Commands[i]
		if c.Name != "" {
			commands.Items = append(commands.Items, Item{c.Name, c.Text})
		}
		set, _ := a.Declare(c)
		s := Section{"Flags", set.items()}
		if c.Name != "" {
			s.Heading += " of " + c.Name
		}
		last := len(flags) - 1
		switch {
		case len(s.Items) == 0:
		case last >= 0 && slices.Equal(flags[last].Items, s.Items):
			flags[last].Heading += " and " + c.Name
		default:
			flags = append(flags, s)
		}
	}
	if len(commands.Items) == 0 {
		return flags
	}
	return append([]Section{commands}, flags...)
}

// Help is the text that `binproxy help NAME` prints.
func (a *Applet) Help() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n\nUsage: %s\n", a.Name, a.Synopsis, strings.Join(a.Usage(), "\n       "))
	for _, paragraph := range Paragraphs(a.Text) {
		b.WriteByte('\n')
		wrap(&b, 0, paragraph)
	}
	for _, s := range a.Sections() {
		fmt.Fprintf(&b, "\n%s:\n", s.Heading)
		for _, i := range s.Items {
			if len(i.Name) > term-4 {
				fmt.Fprintf(&b, "  %s\n%*s", i.Name, term, "")
			} else {
				fmt.Fprintf(&b, "  %-*s", term-2, i.Name)
			}
			wrap(&b, term, i.Text)
		}
	}
	return b.String()
}

// Paragraphs splits a text at its empty lines. A paragraph whose lines begin with a space stays as
// it is; the lines of any other are joined.
func Paragraphs(text string) []string {
	var all []string
	for p := range strings.SplitSeq(strings.Trim(text, "\n"), "\n\n") {
		switch {
		case p == "":
		case strings.HasPrefix(p, " "):
			all = append(all, p)
		default:
			all = append(all, strings.Join(strings.Fields(p), " "))
		}
	}
	return all
}

// wrap prints a paragraph in the column indent, where its further lines begin, too.
func wrap(b *strings.Builder, indent int, paragraph string) {
	if strings.HasPrefix(paragraph, " ") {
		b.WriteString(paragraph + "\n")
		return
	}
	at := indent
	for i, word := range strings.Fields(paragraph) {
		switch {
		case i == 0:
		case at+1+len(word) >= columns:
			fmt.Fprintf(b, "\n%*s", indent, "")
			at = indent
		default:
			b.WriteByte(' ')
			at++
		}
		b.WriteString(word)
		at += len(word)
	}
	b.WriteByte('\n')
}

// items documents the flags, sorted by name.
func (f Flags) items() []Item {
	var list []Item
	f.VisitAll(func(declared *flag.Flag) { list = append(list, item(declared)) })
	return list
}

// item documents a flag: a switch that is on by default, by the form that turns it off; any other,
// with its default if it has one.
func item(f *flag.Flag) Item {
	i := Item{"--" + f.Name, f.Usage}
	if len(f.Name) == 1 {
		i.Name = i.Name[1:]
	}
	if rest, ok := strings.CutPrefix(f.Usage, "`"); ok {
		value, text, _ := strings.Cut(rest, "` ")
		if !strings.HasPrefix(value, "[=") {
			value = " " + value
		}
		i = Item{i.Name + value, text}
	}
	switch f.DefValue {
	case "", "false", "0s":
	case "true":
		i.Name += "=false"
	default:
		i.Text += " (default: " + f.DefValue + ")"
	}
	return i
}
