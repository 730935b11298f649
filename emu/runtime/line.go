package runtime

import (
	"slices"
	"strings"
)

// The options of runc and crun that have their value in the next argument unless it is joined to
// them by "=", each name between spaces. What is not listed is a switch.
const (
	globalValued = " root log log-format log-level criu rootless cgroup-manager "
	createValued = " bundle b config f console-socket pid-file preserve-fds pidfd-socket "
	execValued   = " console-socket cwd env e user u additional-gids g process p pid-file process-label" +
		" apparmor cap c preserve-fds cgroup pidfd-socket "
)

// option is one option of a command line: its name without dashes, its value, and the index of
// the argument that the value ends.
type option struct {
	name, value string
	at          int
}

// line is a command line of the runtime, taken apart.
type line struct {
	args    []string
	options []option // those before the subcommand
	name    string   // the subcommand; "" where there is none
	at      int      // its index
	own     []option // the subcommand's own
	operand int      // the index of its first operand; len(args) for none
}

// parse takes a command line apart as far as the options of runc and crun are known. Of another
// subcommand than create, run and exec only the name is looked at.
func parse(args []string) line {
	c := line{args: args}
	c.options, c.at = options(args, 0, globalValued)
	c.operand = len(args)
	if c.at == len(args) {
		return c
	}
	c.name = args[c.at]
	switch c.name {
	case "create", "run":
		c.own, c.operand = options(args, c.at+1, createValued)
	case "exec":
		c.own, c.operand = options(args, c.at+1, execValued)
	}
	return c
}

// options reads options from the argument at on, and gives the index of what is none.
func options(args []string, at int, valued string) ([]option, int) {
	var list []option
	for ; at < len(args); at++ {
		arg := args[at]
		if arg == "--" {
			return list, at + 1
		}
		if len(arg) < 2 || arg[0] != '-' {
			return list, at
		}
		name, value, joined := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		if !joined && strings.Contains(valued, " "+name+" ") && at+1 < len(args) {
			at++
			value = args[at]
		}
		list = append(list, option{name, value, at})
	}
	return list, at
}

// last is the value of the last option with one of the names; "" for none.
func last(list []option, names ...string) option {
	for _, o := range slices.Backward(list) {
		if slices.Contains(names, o.name) {
			return o
		}
	}
	return option{}
}
