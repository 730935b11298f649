package resolve

import "strings"

// Twin is a host-native program that replaces a guest's, with what its loader needs. The caller of
// execve can open the files by these paths. The guest's arguments are counted without argv[0].
type Twin struct {
	// the loader, and the directory of the libraries; "" for a static twin
	Loader, Libraries string
	Preload           string         // a library to load first, "" for none
	File              string         // the twin
	First             []string       // arguments before the guest's
	Replace           map[int]string // replacements for arguments of the guest's, by number
	Last              []string       // arguments behind the guest's
	// entries for the environment; they replace those of the same name
	Env []string
}

// TwinArgv is the argument vector of the twin's loader, or of a static twin, up to the caller's
// argv[1]. zero is the place of the guest's argv[0] in it, and first that of the guest's next
// argument.
func (p Plan) TwinArgv() (argv []string, zero, first int) {
	t := p.Twin
	argv = []string{p.Prefix[0]}
	if t.Loader != "" {
		argv = []string{t.Loader}
		if !strings.HasPrefix(t.Loader[strings.LastIndexByte(t.Loader, '/')+1:], "ld-musl") {
			argv = append(argv, "--inhibit-cache") // the guest's, and musl has none
		}
		argv = append(argv, "--library-path", t.Libraries)
		if t.Preload != "" {
			argv = append(argv, "--preload", t.Preload)
		}
		argv = append(argv, "--argv0", p.Prefix[0])
		zero = len(argv) - 1
		argv = append(argv, t.File)
	}
	argv = append(append(argv, t.First...), p.Prefix[1:]...)
	return argv, zero, len(argv)
}
