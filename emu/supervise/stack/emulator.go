package stack

import (
	"slices"
	"strings"

	"binproxy/emu/config"
	"binproxy/emu/resolve"
)

// ForEmulator are the emulator's lists. A dynamic emulator's loader would obey the guest's LD_
// variables: they are taken out of its environment, and given to it as options, for the guest.
func (s Stack) ForEmulator(plan resolve.Plan, e config.Emulator, options []string, m Memory) (Lists, error) {
	stay := s.Envp
	var moved []uint64
	if e.Loader != "" {
		var err error
		if stay, moved, err = split(s.Envp, m); err != nil {
			return Lists{}, err
		}
	}
	prefix := plan.EmulatorArgv(e, options...)
	zero := slices.Index(prefix, "-0") + 1 // behind it stands the guest's argv[0]
	argv := s.behind(plan, prefix, zero)
	var given []Argument
	for _, at := range moved {
		given = append(given, Argument{Text: "-E"}, Argument{At: at})
	}
	return Lists{Argv: slices.Insert(argv, zero+1, given...), Envp: placed(stay)}, nil
}

// behind are the caller's arguments behind a prefix, in which they have their argv[0] at zero.
// That of a script is the script's interpreter: the caller's own is dropped, as the kernel does.
func (s Stack) behind(plan resolve.Plan, prefix []string, zero int) []Argument {
	argv := make([]Argument, 0, len(prefix)+len(s.Argv))
	for i, text := range prefix {
		a := Argument{Text: text}
		if i == zero && !plan.Script && len(s.Argv) > 0 {
			a = Argument{At: s.Argv[0]}
		}
		argv = append(argv, a)
	}
	for _, at := range s.Argv[min(1, len(s.Argv)):] {
		argv = append(argv, Argument{At: at})
	}
	return argv
}

// split parts the environment's pointers into those that stay and those of variables that a loader
// obeys.
func split(envp []uint64, m Memory) (stay, moved []uint64, err error) {
	for _, at := range envp {
		name, err := m.ReadString(at, maxString)
		if err != nil {
			return nil, nil, err
		}
		if strings.HasPrefix(name, "LD_") || strings.HasPrefix(name, "GLIBC_TUNABLES=") {
			moved = append(moved, at)
		} else {
			stay = append(stay, at)
		}
	}
	return stay, moved, nil
}
