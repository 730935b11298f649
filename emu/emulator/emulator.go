// Package emulator is all that binproxy knows of emulators: which file is one and for whose
// programs, and how it is called.
//
// An emulator speaks a dialect: the names of its files, and the words by which it is told the
// guest's argv[0], the kernel release, a variable of the guest's. Dialects are rows of a table,
// QEMU's the first, and nobody else in Go writes their words (the hook of shim/preload is C, and
// compared with this package by its tests). Argv puts the words in order, for every route.
//
// A dynamic emulator is started by its loader, and that would obey the variables that are meant
// for the guest's (LD_PRELOAD and its like). So they leave the environment, and the emulator gives
// them to the guest: Takes says which.
package emulator

import "strings"

// Emulator is an emulator's file. QEMU is QEMU's name of the architecture whose programs it runs
// (arch.ABI.QEMU). A static emulator has no Loader; the libraries of a dynamic one are beside its
// loader. Paths are absolute, or relative to the bundle whose file names them.
type Emulator struct {
	QEMU, Path, Loader string
}

// Program is the file that an exec of the emulator loads: the emulator, or a dynamic one's loader.
func (e Emulator) Program() string {
	if e.Loader != "" {
		return e.Loader
	}
	return e.Path
}

// start is the beginning of each argument vector of the emulator.
func (e Emulator) start() []string {
	if e.Loader == "" {
		return []string{e.Path}
	}
	return []string{e.Loader, "--library-path", dir(e.Loader), "--argv0", e.Path, e.Path}
}

// Call is one exec of a guest, in the emulator's terms. T is the caller's form of an argument: a
// string, or the place of one in a tracee.
type Call[T any] struct {
	Argv0     T      // the guest's argv[0]
	Release   string // the kernel release for the guest; "" for the kernel's own
	Variables []T    // what Takes removed from the environment
	File      string // the guest's
}

// Argv is the emulator's argument vector up to the guest's file; the guest's arguments follow. It
// leaves out what the dialect has no word for. argument makes a T of a word.
func Argv[T any](e Emulator, c Call[T], argument func(string) T) []T {
	d := e.dialect()
	start := e.start()
	argv := make([]T, 0, len(start)+2*len(c.Variables)+16)
	for _, word := range start {
		argv = append(argv, argument(word))
	}
	if d.argv0 != "" {
		argv = append(argv, argument(d.argv0), c.Argv0)
	}
	if d.release != "" && c.Release != "" {
		argv = append(argv, argument(d.release), argument(c.Release))
	}
	for _, variable := range c.Variables {
		argv = append(argv, argument(d.variable), variable)
	}
	return append(argv, argument(operand(c.File)))
}

// Argv is Argv for strings.
func (e Emulator) Argv(c Call[string]) []string {
	return Argv(e, c, func(word string) string { return word })
}

// operand keeps a relative path that starts with a dash from being read as an option.
func operand(path string) string {
	if path != "" && path[0] == '-' {
		return "./" + path
	}
	return path
}

func dir(path string) string {
	if i := strings.LastIndexByte(path, '/'); i > 0 {
		return path[:i]
	}
	return "/"
}
