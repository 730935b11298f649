package uname

import "strings"

// The fields in the order in which they are printed, whatever the order of the options.
const (
	kernelName = 1 << iota
	nodeName
	kernelRelease
	kernelVersion
	machineName
	processor
	platform
	osName

	// all is more than the eight together: fields that are asked for one by one are printed even
	// if they are unknown.
	all = 1<<9 - 1
)

// The two options that are actions, not fields.
const (
	help    = 1 << 16
	version = 1 << 17
)

// options are GNU's in its order, which is the order of the candidates in an error. short is 0 if
// there is only a long name.
var options = [...]struct {
	long  string
	short byte
	value int
}{
	{"all", 'a', all},
	{"kernel-name", 's', kernelName},
	{"sysname", 's', kernelName},
	{"nodename", 'n', nodeName},
	{"kernel-release", 'r', kernelRelease},
	{"release", 'r', kernelRelease},
	{"kernel-version", 'v', kernelVersion},
	{"machine", 'm', machineName},
	{"processor", 'p', processor},
	{"hardware-platform", 'i', platform},
	{"operating-system", 'o', osName},
	{"help", 0, help},
	{"version", 0, version},
}

// parse reads the arguments as getopt_long does: options and operands in any order up to a "--",
// or with POSIXLY_CORRECT up to the first operand. It gives the fields to print, or an immediate
// answer.
func parse(name string, args []string, posixly bool) (fields int, final *answer) {
	var operands []string
	for len(args) > 0 && final == nil {
		arg := args[0]
		args = args[1:]
		var value int
		switch {
		case arg == "--":
			operands, args = append(operands, args...), nil
		case strings.HasPrefix(arg, "--"):
			value, final = long(name, arg)
		case len(arg) > 1 && arg[0] == '-':
			value, final = cluster(name, arg[1:])
		default:
			operands = append(operands, arg)
			if posixly {
				args = nil
			}
		}
		fields |= value
	}
	switch {
	case final != nil:
		return 0, final
	case len(operands) > 0:
		return 0, misused(name, name+": extra operand "+quote(operands[0]))
	case fields == 0:
		return kernelName, nil
	}
	return fields, nil
}

func cluster(name, letters string) (fields int, final *answer) {
	for i := range len(letters) {
		value := byLetter(letters[i])
		if value == 0 {
			return 0, misused(name, name+": invalid option -- '"+letters[i:i+1]+"'")
		}
		fields |= value
	}
	return fields, nil
}

func byLetter(letter byte) int {
	for i := range options {
		if options[i].short == letter && letter != 0 {
			return options[i].value
		}
	}
	return 0
}

// long reads one long option, whose name may be shortened as long as it is unambiguous. arg has
// its two dashes.
func long(name, arg string) (value int, final *answer) {
	word, _, hasArgument := strings.Cut(arg[2:], "=")
	found, candidates := -1, ""
	for i := range options {
		if options[i].long == word {
			found, candidates = i, ""
			break
		}
		switch {
		case !strings.HasPrefix(options[i].long, word):
		case found < 0:
			found = i
		case options[i].value != options[found].value:
			if candidates == "" {
				candidates = " '--" + options[found].long + "'"
			}
			candidates += " '--" + options[i].long + "'"
		}
	}
	switch {
	case candidates != "":
		return 0, misused(name, name+": option '"+arg+"' is ambiguous; possibilities:"+candidates)
	case found < 0:
		return 0, misused(name, name+": unrecognized option '"+arg+"'")
	case hasArgument:
		return 0, misused(name, name+": option '--"+options[found].long+"' doesn't allow an argument")
	}
	switch value := options[found].value; value {
	case help:
		return 0, &answer{stdout: "Usage: " + name + helpText}
	case version:
		return 0, &answer{stdout: versionText}
	default:
		return value, nil
	}
}

func misused(name, complaint string) *answer {
	return &answer{stderr: complaint + "\nTry '" + name + " --help' for more information.\n", status: failure}
}

// quote is gnulib's quote() in the C locale: 'text', with C's escapes for bytes that are not
// printable ASCII.
func quote(text string) string {
	const octal = "01234567"
	q := []byte{'\''}
	for i := range len(text) {
		c := text[i]
		short := strings.IndexByte("\a\b\t\n\v\f\r", c)
		switch {
		case c == '\'' || c == '\\':
			q = append(q, '\\', c)
		case short >= 0:
			q = append(q, '\\', "abtnvfr"[short])
		case c < ' ' || c > '~':
			q = append(q, '\\', octal[c>>6], octal[c>>3&7], octal[c&7])
		default:
			q = append(q, c)
		}
	}
	return string(append(q, '\''))
}
