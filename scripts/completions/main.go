// Command completions writes completions of the command line for bash, zsh and fish into a
// directory. They are made of the table of the applets, so that the program itself has nothing of
// them and no shell has to start it.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"binproxy/applets"
	"binproxy/applets/applet"
	"binproxy/emu/arch"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: completions DIR")
		os.Exit(2)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "completions:", err)
		os.Exit(1)
	}
}

// write makes the files, named as each shell looks for them.
func write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	table := read()
	for name, text := range map[string]string{"binproxy.bash": bash(table), "_binproxy": zsh(table), "binproxy.fish": fish(table)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// A word is what can follow on a command line, with what it means.
type word struct{ name, text string }

// A place is a command line as far as its command is named: "", "container", "container create".
// Words are the commands that may follow, flags what that command has.
type place struct {
	path  string
	words []word
	flags []option
}

// An option is a flag. Value is the name of its value, "" for a switch.
type option struct {
	word
	value string
	kind  kind
}

// A kind is what a shell can offer for a flag's value.
type kind int

const (
	anything kind = iota
	files
	directories
	archs
)

// kindOf tells by the value's name: DIR, FILE, SRC[:DST], ARCH[,ARCH...].
func kindOf(value string) kind {
	switch {
	case strings.HasPrefix(value, "ARCH"), strings.HasPrefix(value, "PLATFORM"):
		return archs
	case strings.Contains(value, "FILE"):
		return files
	case strings.Contains(value, "DIR"), strings.HasPrefix(value, "SRC"):
		return directories
	}
	return anything
}

// read lists the places: the program's, each applet's, and those of an applet's commands.
func read() []place {
	first := place{}
	all := []place{{}, {path: "help"}}
	for _, a := range applets.Table {
		first.words = append(first.words, word{a.Name, a.Synopsis})
		all = append(all, ofApplet(a)...)
	}
	all[1].words = first.words
	all[0].words = append(append([]word{}, first.words...), word{"help", "tell more of an applet"})
	return all
}

// ofApplet lists an applet's places. A command of two words has a place between: uml kernel.
func ofApplet(a *applet.Applet) []place {
	all := []place{{path: a.Name}}
	at := map[string]int{a.Name: 0}
	for i := range a.Commands {
		c := &a.Commands[i]
		here := a.Name
		for name := range strings.FieldsSeq(c.Name) {
			next := here + " " + name
			if _, ok := at[next]; !ok {
				at[next] = len(all)
				all[at[here]].words = append(all[at[here]].words, word{name, c.Text})
				all = append(all, place{path: next})
			}
			here = next
		}
		all[at[here]].flags = append(all[at[here]].flags, options(a, c)...)
	}
	return all
}

func options(a *applet.Applet, c *applet.Command) []option {
	var all []option
	set, _ := a.Declare(c)
	set.VisitAll(func(f *flag.Flag) {
		o := option{word: word{"--" + f.Name, f.Usage}}
		if len(f.Name) == 1 {
			o.name = "-" + f.Name
		}
		if rest, ok := strings.CutPrefix(f.Usage, "`"); ok {
			o.value, o.text, _ = strings.Cut(rest, "` ")
		}
		if strings.HasPrefix(o.value, "[=") {
			o.value = "" // it may stand alone, and takes no further word
		}
		o.kind = kindOf(o.value)
		all = append(all, o)
	})
	return all
}

// brief is the first part of a text, in one line.
func brief(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	for _, end := range []string{": ", "; ", ". ", " ("} {
		text, _, _ = strings.Cut(text, end)
	}
	return text
}

// archNames are the values of --arch and --platform.
func archNames() []string {
	var names []string
	for _, abi := range arch.All() {
		names = append(names, abi.Name)
		for _, platform := range abi.Platforms {
			names = append(names, "linux/"+platform)
		}
	}
	return names
}

// quoted is a word of a shell in single quotes, for bash and zsh.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
