package binfmt

import (
	"fmt"
	"os"
	"strings"

	"binproxy/applets/applet"
	"binproxy/emu/arch"
	"binproxy/emu/binfmt"
	"binproxy/emu/exit"
	"binproxy/emu/userns"
)

// wanted is the flags of register, conf and --userns, as read.
type wanted struct {
	entries     []binfmt.Entry
	credentials bool
}

func want(verb string, args []string) (wanted, error) {
	flags := applet.NewFlags("binfmt " + verb)
	credentials := flags.Bool("credentials", false, "")
	fix := flags.Bool("fix", true, "")
	argv0 := flags.Bool("preserve-argv0", true, "")
	all := flags.Bool("all", false, "")
	var emulators applet.List
	flags.Var(&emulators, "emulator", "")
	names, err := flags.Parse(args)
	if err != nil {
		return wanted{}, err
	}
	if (len(names) == 0) == !*all {
		return wanted{}, exit.Errorf(exit.Failed, "binfmt %s: name architectures, as in `binproxy binfmt %s arm64`, or say --all", verb, verb)
	}
	abis, err := arch.ParseList(strings.Join(names, ","))
	if *all {
		abis, err = available()
	}
	if err != nil {
		return wanted{}, err
	}
	w := wanted{credentials: *credentials}
	if w.entries, err = entries(abis, emulators); err != nil {
		return wanted{}, err
	}
	for i := range w.entries {
		w.entries[i].Flags = letters(*argv0, *credentials, *fix)
	}
	return w, nil
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

// available is what there is an emulator for.
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
	files, err := applet.Emulators(emulators, abis)
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

func register(args []string) error {
	w, err := want("register", args)
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
	for _, e := range w.entries {
		if err := registry.Register(e); err != nil {
			return err
		}
		fmt.Printf("%s: %s, flags %s\n", e.Name, e.Interpreter, e.Flags)
	}
	return nil
}

func conf(args []string) error {
	w, err := want("conf", args)
	if err != nil {
		return err
	}
	for _, e := range w.entries {
		line, err := e.Line()
		if err != nil {
			return err
		}
		fmt.Println(line)
	}
	return nil
}

func inNamespace(args []string) error {
	flags := applet.NewFlags("binfmt")
	asked := flags.Bool("userns", false, "")
	root := flags.Bool("root", false, "")
	archs := flags.Names("arch")
	var emulators applet.List
	flags.Var(&emulators, "emulator", "")
	argv, err := flags.ParseCommand(args)
	if err != nil {
		return err
	}
	if !*asked || len(argv) == 0 {
		return exit.Errorf(exit.Failed, "binfmt: it is --userns [--arch ARCH] -- COMMAND; see binproxy help binfmt")
	}
	abis, err := available()
	if *archs != "" {
		abis, err = arch.ParseList(*archs)
	}
	if err != nil {
		return err
	}
	c := userns.Command{Argv: argv, Env: os.Environ()}
	if c.Entries, err = entries(abis, emulators); err != nil {
		return err
	}
	if c.IDs, c.Inner, err = ids(*root); err != nil {
		return err
	}
	return userns.Run(c)
}

// ids: root with what subordinate ids there are, else alone; or the caller as himself.
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
