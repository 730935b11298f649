package supervise

import (
	"strings"
)

// arguments are the emulator's, from those that the caller gave and execve laid down: the caller's own strings stay where they are. A
// dynamic emulator's loader would obey the guest's LD_ variables: they are taken out of its environment and given to it for the guest.
func (s *supervisor) arguments(e *pending, old stack, m memory) (argv, envp []argument, err error) {
	plan := e.plan
	if plan.Twin != nil {
		envp, err = twinEnvironment(plan.Twin, old, m)
		return twinArguments(plan, old), envp, err
	}
	stay := old.envp
	var moved []uint64
	if e.emulator.Loader != "" {
		if stay, moved, err = split(old.envp, m); err != nil {
			return nil, nil, err
		}
	}
	prefix := plan.EmulatorArgv(e.emulator.Emulator, s.options...)
	zero := argv0(prefix)
	for i, text := range prefix {
		a := argument{text: text}
		if i == zero && !plan.Script && len(old.argv) > 0 {
			a = argument{at: old.argv[0]}
		}
		argv = append(argv, a)
		if i == zero {
			for _, at := range moved {
				argv = append(argv, argument{text: "-E"}, argument{at: at})
			}
		}
	}
	for _, at := range old.argv[min(1, len(old.argv)):] {
		argv = append(argv, argument{at: at})
	}
	return argv, placed(stay), nil
}

// placed are strings that stay where they are.
func placed(list []uint64) []argument {
	arguments := make([]argument, len(list))
	for i, at := range list {
		arguments[i].at = at
	}
	return arguments
}

// argv0 is where the emulator's arguments have the guest's argv[0]: behind -0.
func argv0(prefix []string) int {
	for i, text := range prefix {
		if text == "-0" {
			return i + 1
		}
	}
	return -1
}

// split parts the environment's pointers into those that stay and those of variables that a loader obeys.
func split(envp []uint64, m memory) (stay, moved []uint64, err error) {
	for _, at := range envp {
		name, err := m.readString(at, maxString)
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
