package applet

import (
	"errors"
	"flag"
	"io"
	"strings"

	"binproxy/emu/exit"
	"binproxy/emu/identity"
)

// Flags is a flag set that takes flags before, between and after the operands, up to a "--".
//
// Only the usage of a flag documents it. It begins with the name of the flag's value in
// backquotes, if it takes one: "`DIR` the guest's root directory".
type Flags struct {
	*flag.FlagSet
}

// NewFlags starts the flags of a command.
func NewFlags(name string) Flags {
	set := flag.NewFlagSet(name, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	return Flags{set}
}

// Parse reads the flags and returns the operands. The error for an unknown flag has status 125 and
// a hint.
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

// ParseCommand reads the flags up to the first operand or "--", where a COMMAND with its own
// arguments begins.
func (f Flags) ParseCommand(args []string) ([]string, error) {
	err := f.parse(args)
	return f.Args(), err
}

// ParseOwn reads the declared flags, wherever they are before a "--". It returns all the rest in
// order: another program's flags and operands.
func (f Flags) ParseOwn(args []string) ([]string, error) {
	var own, rest []string
	for i := 0; i < len(args); i++ {
		if args[i] == "--" {
			rest = append(rest, args[i:]...)
			break
		}
		name, dashed := strings.CutPrefix(args[i], "--")
		name, _, joined := strings.Cut(name, "=")
		declared := f.Lookup(name)
		switch {
		case args[i] == "--help" || args[i] == "-h":
			return nil, flag.ErrHelp
		case !dashed || declared == nil:
			rest = append(rest, args[i])
		case joined || isSwitch(declared):
			own = append(own, args[i])
		default:
			own = append(own, args[i:min(i+2, len(args))]...)
			i++
		}
	}
	return rest, f.parse(own)
}

// isSwitch reports whether a flag takes no value of its own.
func isSwitch(declared *flag.Flag) bool {
	b, ok := declared.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}

// parse returns flag.ErrHelp for -h and --help; the applet's caller prints the help.
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
	f.StringVar(&i.Release, "release", "", "`R` the kernel release for programs (uname -r)")
	f.StringVar(&i.Sysname, "sysname", "", "`S` the system name for programs (uname -s)")
	f.StringVar(&i.Nodename, "nodename", "", "`N` the host name for programs (uname -n)")
	f.StringVar(&i.Version, "kernel-version", "", "`V` the kernel version for programs (uname -v)")
	f.StringVar(&i.Machine, "machine", "", "`M` the machine for programs (uname -m)")
}

// Names adds a flag for a list with commas that may be given several times: the lists are joined.
func (f Flags) Names(name, usage string) *string {
	all := new(string)
	f.names(all, name, usage)
	return all
}

func (f Flags) names(all *string, name, usage string) {
	f.Func(name, usage, func(s string) error {
		*all = strings.TrimPrefix(*all+","+s, ",")
		return nil
	})
}

// Archs adds a flag for architectures, a list as Names has it, and --platform, which means the
// same.
func (f Flags) Archs(name, usage string) *string {
	all := f.Names(name, usage)
	f.names(all, "platform", "`PLATFORM[,PLATFORM...]` the same as --"+name)
	return all
}

// Arch adds --arch, for one architecture, and --platform, which means the same.
func (f Flags) Arch(name *string, usage string) {
	f.StringVar(name, "arch", "", usage)
	f.StringVar(name, "platform", "", "`PLATFORM` the same as --arch")
}

// List is a flag that may be given several times.
type List []string

func (l *List) String() string     { return strings.Join(*l, " ") }
func (l *List) Set(s string) error { *l = append(*l, s); return nil }
