package emulator

import "strings"

// ForLoader reports whether an entry of the environment (NAME=VALUE) is one that loaders obey.
func ForLoader(entry string) bool {
	return strings.HasPrefix(entry, "LD_") && strings.Contains(entry, "=") || strings.HasPrefix(entry, "GLIBC_TUNABLES=")
}

// NamesRoot reports whether a variable tells an emulator in which root the guests' loaders are.
func NamesRoot(name string) bool {
	for i := range dialects {
		if name != "" && dialects[i].root == name {
			return true
		}
	}
	return false
}

// Takes reports whether an entry of the guest's environment has to leave it, and be among the
// Variables of its Call: what a dynamic emulator's loader would obey. A value that the emulator
// would split stays, and both obey it: the guest is to have it whole.
func (e Emulator) Takes(entry string) bool {
	d := e.dialect()
	return e.Dynamic() && ForLoader(entry) && d.variable != "" && !strings.ContainsAny(entry, d.splits)
}

// Dynamic reports whether a loader starts the emulator. Of a static one Takes takes nothing.
func (e Emulator) Dynamic() bool { return e.Loader != "" }

// Part parts a guest's environment into the Variables of its Call and the emulator's own
// environment.
func (e Emulator) Part(env []string) (variables, rest []string) {
	if !e.Dynamic() {
		return nil, env
	}
	for _, entry := range env {
		if e.Takes(entry) {
			variables = append(variables, entry)
		} else {
			rest = append(rest, entry)
		}
	}
	return variables, rest
}
