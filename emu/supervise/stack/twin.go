package stack

import (
	"slices"
	"strings"

	"binproxy/emu/resolve"
	"binproxy/emu/twin"
)

// ForTwin returns the lists for a twin's loader, and so for the twin: the caller's lists, plus the
// entries that the twin needs. A mark hides what the loader must not see.
func (s Stack) ForTwin(plan resolve.Plan, m Memory) (Lists, error) {
	prefix, zero, first := plan.TwinArgv()
	var l Lists
	for _, word := range prefix {
		l.Argv = append(l.Argv, text(word))
	}
	l.Argv[zero] = s.argv0(plan)
	l.Argv = append(l.Argv, s.arguments()...)
	first -= len(plan.Prefix) - 1
	for i, word := range plan.Twin.Replace {
		l.Argv[first+i] = text(word)
	}
	for _, word := range plan.Twin.Last {
		l.Argv = append(l.Argv, text(word))
	}
	return l, s.twinEnvironment(&l, plan.Twin, m)
}

func (s Stack) twinEnvironment(l *Lists, t *resolve.Twin, m Memory) error {
	l.Envp = placed(s.Envp)
	if t.Preload == "" && len(t.Env) == 0 {
		return nil
	}
	missing := slices.Clone(t.Env)
	for i, at := range s.Envp {
		entry, err := m.ReadString(at, maxString)
		if err != nil {
			return err
		}
		if mark, ok := twin.Hidden(entry); ok && t.Loader != "" {
			l.Marks = append(l.Marks, Mark{at, mark})
		}
		name, _, _ := strings.Cut(entry, "=")
		missing = slices.DeleteFunc(missing, func(text string) bool {
			same := strings.HasPrefix(text, name+"=")
			if same {
				l.Envp[i] = Argument{Text: text}
			}
			return same
		})
	}
	for _, text := range missing {
		l.Envp = append(l.Envp, Argument{Text: text})
	}
	return nil
}
