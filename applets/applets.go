// Package applets is the table of what a user can call: one sorted row for each applet, one room
// for each row. A room reads its flags, makes one call into emu or shim, and returns the error.
package applets

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"binproxy/applets/applet"
	"binproxy/applets/binfmt"
	"binproxy/applets/bootstrap"
	"binproxy/applets/build"
	"binproxy/applets/bundle"
	"binproxy/applets/clean"
	"binproxy/applets/container"
	"binproxy/applets/dockerfile"
	"binproxy/applets/doctor"
	"binproxy/applets/env"
	"binproxy/applets/install"
	"binproxy/applets/kernel"
	"binproxy/applets/run"
	"binproxy/applets/runtime"
	"binproxy/applets/status"
	"binproxy/applets/twin"
	"binproxy/applets/uml"
	"binproxy/applets/version"
	"binproxy/emu/arch"
	"binproxy/emu/config"
	"binproxy/emu/entrypoint"
	"binproxy/emu/exit"
	"binproxy/emu/single"
	"binproxy/emu/supervise"
	"binproxy/emu/sys"
)

// Table has every applet, sorted by name. The command line is read by it; `binproxy help`, the man
// pages and docs/commands.md are made from it.
var Table = []*applet.Applet{
	&binfmt.Applet,
	&bootstrap.Applet,
	&build.Applet,
	&bundle.Applet,
	&clean.Applet,
	&container.Applet,
	&dockerfile.Applet,
	&doctor.Applet,
	&env.Applet,
	&install.Applet,
	&kernel.Applet,
	&run.Applet,
	&runtime.Applet,
	&status.Applet,
	&twin.Applet,
	&uml.Applet,
	&version.Applet,
}

// Main runs the applet that the arguments name: by argv[0] if that names one (see called), else by
// argv[1].
func Main(argv []string) error {
	if len(argv) == 0 {
		argv = []string{"binproxy"}
	}
	if ok, err := entrypoint.Main(entrypoints[:], argv); ok {
		return err
	}
	if argv[0] == supervise.ForkName {
		var err error
		if argv, err = run.Split(argv); err != nil {
			return err
		}
	}
	if a, ok := Find(called(filepath.Base(argv[0]))); ok {
		return start(a, argv[1:])
	}
	if single.ForBuildKit(argv[0]) {
		return asEmulator(argv[1:])
	}
	if name := filepath.Base(argv[0]); !strings.HasPrefix(name, config.Binary) && !renamed() && !run.IsSingle() {
		return unknown(name, "")
	}
	if len(argv) == 1 {
		Help(os.Stdout)
		return nil
	}
	switch argv[1] {
	case "help", "--help", "-h":
		return help(argv[2:])
	case "--version":
		argv[1] = "version"
	}
	if a, ok := Find(argv[1]); ok {
		return start(a, argv[2:])
	}
	return unknown(config.Binary, argv[1])
}

// Own reports whether a start looks like an applet's, as far as the arguments say so. Of a copy
// under any name only its command `run` does.
func Own(argv []string) bool {
	return len(argv) > 0 && (strings.HasPrefix(filepath.Base(argv[0]), config.Binary) || single.ForBuildKit(argv[0])) ||
		len(argv) > 1 && argv[1] == run.Applet.Name
}

// renamed reports whether the started file is binproxy itself under another name: a copy. A link,
// hard or symbolic, does not count: it may stand for a command.
func renamed() bool {
	started, err := os.Lstat(sys.Execfn())
	if err != nil || !started.Mode().IsRegular() {
		return false
	}
	self, err := os.Stat(entrypoint.Self)
	if err != nil || !os.SameFile(started, self) {
		return false // a script, whose interpreter is a link
	}
	stat, ok := started.Sys().(*syscall.Stat_t)
	return ok && stat.Nlink == 1
}

// called is the applet that the program was called as. Its name may begin with "binproxy-", and
// runtimes have names of their own.
func called(name string) string {
	if runtime.IsRuntime(name) {
		return runtime.Applet.Name
	}
	return strings.TrimPrefix(name, config.Binary+"-")
}

// asEmulator runs the command as the emulator that BuildKit takes the program for: all arguments
// are the command's.
func asEmulator(command []string) error {
	if !run.IsSingle() {
		return exit.Errorf(exit.Failed, "called as BuildKit's emulator, but %w: the file was cut short, or is not of `binproxy bundle --buildkit DIR`; make it anew", single.ErrPlain)
	}
	return start(&run.Applet, append([]string{"--"}, command...))
}

// Find looks an applet up by name.
func Find(name string) (*applet.Applet, bool) {
	i, ok := slices.BinarySearchFunc(Table, name, func(a *applet.Applet, name string) int { return strings.Compare(a.Name, name) })
	if !ok {
		return nil, false
	}
	return Table[i], true
}

func start(a *applet.Applet, args []string) error {
	err := flag.ErrHelp
	// before an applet takes it for a command's name
	if len(args) == 0 || args[0] != "--help" && args[0] != "-h" {
		err = a.Start(args)
	}
	if errors.Is(err, flag.ErrHelp) {
		fmt.Print(a.Help())
		return nil
	}
	return err
}

func help(names []string) error {
	if len(names) == 0 {
		Help(os.Stdout)
		return nil
	}
	a, ok := Find(names[0])
	if !ok {
		return unknown("help", names[0])
	}
	fmt.Print(a.Help())
	return nil
}

// Help prints the table.
func Help(w io.Writer) {
	fmt.Fprint(w, "binproxy runs container images of another architecture on a host that has nothing registered.\n\nUsage: binproxy APPLET [ARGUMENT...]\n\n")
	for _, a := range Table {
		fmt.Fprintf(w, "  %-10s %s\n", a.Name, a.Synopsis)
	}
	fmt.Fprint(w, "\nbinproxy help APPLET tells more of one.\n")
}

func unknown(caller, name string) error {
	if caller != config.Binary && caller != "help" {
		return exit.Errorf(exit.NotFound, "called as %s, which is neither an applet nor a link that stands for a guest command; see binproxy help, binproxy status", caller)
	}
	if meant := nearest(name); meant != "" {
		return exit.Errorf(exit.NotFound, "%s: no such applet; did you mean '%s'? See binproxy help", name, meant)
	}
	return exit.Errorf(exit.NotFound, "%s: no such applet; see binproxy help", name)
}

// nearest is the applet that a name may mean with up to a third of its letters wrong, "" for none.
func nearest(name string) (meant string) {
	least := (len(name)+2)/3 + 1
	for _, a := range Table {
		if d := arch.Distance(name, a.Name); d < least {
			meant, least = a.Name, d
		}
	}
	return meant
}
