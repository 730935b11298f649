package runtime

import (
	"slices"
	"strings"
)

// The options of runc and crun whose value is the next argument unless "=" joins it to the option,
// each name between spaces. All other options are switches.
const (
	globalValued = " root log log-format log-level criu rootless cgroup-manager "
	createValued = " bundle b config f console-socket pid-file preserve-fds pidfd-socket "
	execValued   = " console-socket cwd env e user u additional-gids g process p pid-file process-label" +
		" apparmor cap c preserve-fds cgroup pidfd-socket "
)

// option is one option of a command line: its name without dashes, its value, and the index of the
// argument where the value ends.
type option struct {
	name, value string
	at          int
}

// line is a parsed command line of the runtime.
type line struct {
	args    []string
	options []option // those before the subcommand
	name    string   // the subcommand; "" where there is none
	at      int      // its index
	own     []option // the subcommand's own
	operand int      // the index of its first operand; len(args) for none
}

// parse parses a command line, as far as it knows the options of runc and crun. Of subcommands
// other than create, run and exec it reads only the name.
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

// options reads options from the argument at on, and gives the index of the first other argument.
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
