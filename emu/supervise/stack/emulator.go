package stack

import (
	"binproxy/emu/emulator"
	"binproxy/emu/resolve"
)

// ForEmulator returns the emulator's lists, for a guest that sees the release ("" means the
// kernel's own).
func (s Stack) ForEmulator(plan resolve.Plan, e emulator.Emulator, release string, m Memory) (Lists, error) {
	c := emulator.Call[Argument]{Argv0: s.argv0(plan), Release: release, File: plan.File.Path}
	rest := s.Envp
	if e.Dynamic() {
		var variables []uint64
		var err error
		if variables, rest, err = part(s.Envp, e, m); err != nil {
			return Lists{}, err
		}
		c.Variables = placed(variables)
	}
	argv := emulator.Argv(e, c, text)
	for _, argument := range plan.Prefix[1:] {
		argv = append(argv, text(argument))
	}
	return Lists{Argv: append(argv, s.arguments()...), Envp: placed(rest)}, nil
}

// argv0 is the guest's argv[0]: the caller's, or a script's interpreter, which replaces it.
func (s Stack) argv0(plan resolve.Plan) Argument {
	if plan.Script || len(s.Argv) == 0 {
		return text(plan.Prefix[0])
	}
	return Argument{At: s.Argv[0]}
}

// arguments are the caller's after argv[0].
func (s Stack) arguments() []Argument { return placed(s.Argv[min(1, len(s.Argv)):]) }

func text(text string) Argument { return Argument{Text: text} }

// part splits the environment's pointers as emulator.Part splits the entries.
func part(envp []uint64, e emulator.Emulator, m Memory) (variables, rest []uint64, err error) {
	for _, at := range envp {
		entry, err := m.ReadString(at, maxString)
		if err != nil {
			return nil, nil, err
		}
		if e.Takes(entry) {
			variables = append(variables, at)
		} else {
			rest = append(rest, at)
		}
	}
	return variables, rest, nil
}
