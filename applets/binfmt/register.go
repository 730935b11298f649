package binfmt

import (
	"fmt"
	"os"
	"strings"

	"binproxy/applets/applet"
	"binproxy/emu/arch"
	"binproxy/emu/binfmt"
	"binproxy/emu/command"
	"binproxy/emu/emulator"
	"binproxy/emu/exit"
	"binproxy/emu/userns"
)

const emulatorUsage = "`[ARCH=]FILE` a static emulator, instead of searching beside binproxy and in PATH"

// wanted are the flags of register and conf.
type wanted struct {
	verb                         string
	all, fix, argv0, credentials bool
	emulators                    applet.List
}

func want(verb string, f applet.Flags) *wanted {
	w := &wanted{verb: verb}
	f.BoolVar(&w.credentials, "credentials", false, "with C: setuid programs get their rights. The emulator then runs with those rights: whoever can make it misbehave is root. Only for emulators and roots that you trust")
	f.BoolVar(&w.fix, "fix", true, "without F: the emulator is looked up at each exec, also in a chroot")
	f.BoolVar(&w.argv0, "preserve-argv0", true, "without P: programs do not see the name that they were called by")
	f.BoolVar(&w.all, "all", false, "every architecture that has an emulator here")
	f.Var(&w.emulators, "emulator", emulatorUsage)
	return w
}

// entries makes the entries for the architectures of these names.
func (w *wanted) entries(names []string) ([]binfmt.Entry, error) {
	if (len(names) == 0) == !w.all {
		return nil, exit.Errorf(exit.Failed, "binfmt %s: name architectures, as in `binproxy binfmt %s arm64`, or say --all", w.verb, w.verb)
	}
	abis, err := arch.ParseList(strings.Join(names, ","))
	if w.all {
		abis, err = available()
	}
	if err != nil {
		return nil, err
	}
	list, err := entries(abis, w.emulators)
	for i := range list {
		list[i].Flags = letters(w.argv0, w.credentials, w.fix)
	}
	return list, err
}

func letters(argv0, credentials, fix bool) string {
	var b strings.Builder
	for _, f := range [...]struct {
		on     bool
		letter byte
	}{{argv0, binfmt.PreserveArgv0}, {credentials, binfmt.OpenBinary}, {credentials, binfmt.Credentials}, {fix, binfmt.FixBinary}} {
		if f.on {
			b.WriteByte(f.letter)
		}
	}
	return b.String()
}

// available lists the ABIs that have an emulator here.
func available() ([]*arch.ABI, error) {
	var abis []*arch.ABI
	var last error
	for _, abi := range binfmt.Foreign() {
		if _, err := binfmt.Emulator(abi, ""); err != nil {
			last = err
			continue
		}
		abis = append(abis, abi)
	}
	if len(abis) == 0 {
		return nil, last
	}
	return abis, nil
}

func entries(abis []*arch.ABI, emulators []string) ([]binfmt.Entry, error) {
	files, err := emulator.Parse(emulators, abis)
	if err != nil {
		return nil, err
	}
	for _, abi := range abis {
		if abi.Native(arch.Host()) {
			return nil, exit.Errorf(exit.Failed, "binfmt: the kernel runs %s programs itself; an entry would put an emulator in their way", abi.Name)
		}
	}
	return binfmt.Entries(abis, files)
}

func registerFlags(f applet.Flags) applet.Run {
	w := want("register", f)
	return func(names []string) error { return register(w, names) }
}

func register(w *wanted, names []string) error {
	list, err := w.entries(names)
	if err != nil {
		return err
	}
	registry, err := binfmt.Host()
	if err != nil {
		return err
	}
	if w.credentials {
		fmt.Fprintln(os.Stderr, "binproxy: with C the emulator runs with the rights of setuid programs: whoever can make it misbehave is root")
	}
	for _, e := range list {
		if err := registry.Register(e); err != nil {
			return err
		}
		fmt.Printf("%s: %s, flags %s\n", e.Name, e.Interpreter, e.Flags)
	}
	return nil
}

func confFlags(f applet.Flags) applet.Run {
	w := want("conf", f)
	return func(names []string) error { return conf(w, names) }
}

func conf(w *wanted, names []string) error {
	list, err := w.entries(names)
	if err != nil {
		return err
	}
	for _, e := range list {
		line, err := e.Line()
		if err != nil {
			return err
		}
		fmt.Println(line)
	}
	return nil
}

// namespace are the flags of --userns.
type namespace struct {
	asked, root bool
	archs       *string
	emulators   applet.List
}

func namespaceFlags(f applet.Flags) applet.Run {
	var n namespace
	f.BoolVar(&n.asked, "userns", false, "run COMMAND in a user namespace with entries of its own; nothing outside is changed and no privilege is needed (Linux 6.7 and later)")
	f.BoolVar(&n.root, "root", false, "COMMAND is root in it, with your subordinate ids (/etc/subuid)")
	n.archs = f.Archs("arch", "`ARCH[,ARCH...]` entries for these only (default: all that have an emulator here)")
	f.Var(&n.emulators, "emulator", emulatorUsage)
	return n.run
}

func (n *namespace) run(argv []string) error {
	if !n.asked || len(argv) == 0 {
		return exit.Errorf(exit.Failed, "binfmt: it is --userns [--arch ARCH] -- COMMAND; see binproxy help binfmt")
	}
	abis, err := available()
	if *n.archs != "" {
		abis, err = arch.ParseList(*n.archs)
	}
	if err != nil {
		return err
	}
	c := userns.Command{Command: command.Command{Name: argv[0], Argv: argv, Env: os.Environ()}}
	if c.Entries, err = entries(abis, n.emulators); err != nil {
		return err
	}
	if c.IDs, c.Inner, err = ids(n.root); err != nil {
		return err
	}
	return userns.Run(c)
}

// ids are root, with subordinate ids if there are any, else alone; or the caller as himself.
func ids(root bool) (userns.IDs, *userns.IDs, error) {
	if !root {
		return userns.Self()
	}
	ids, ok, err := userns.Household()
	if !ok {
		ids = userns.Alone()
	}
	return ids, nil, err
}
