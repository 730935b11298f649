package emulator

import "strings"

// ForLoader reports whether an entry of the environment (NAME=VALUE) is one that loaders obey.
func ForLoader(entry string) bool {
	return strings.HasPrefix(entry, "LD_") && strings.Contains(entry, "=") || strings.HasPrefix(entry, "GLIBC_TUNABLES=")
}

// NamesRoot reports whether a variable gives an emulator the root with the guests' loaders.
func NamesRoot(name string) bool {
	for i := range dialects {
		if name != "" && dialects[i].root == name {
			return true
		}
	}
	return false
}

// Takes reports whether an entry of the guest's environment has to move from there to the
// Variables of its Call, because a dynamic emulator's loader would obey it. An entry whose value
// the emulator would split stays, so that the guest gets it whole; the emulator's loader obeys it,
// too.
func (e Emulator) Takes(entry string) bool {
	d := e.dialect()
	return e.Dynamic() && ForLoader(entry) && d.variable != "" && !strings.ContainsAny(entry, d.splits)
}

// Dynamic reports whether a loader starts the emulator. Takes is always false for a static one.
func (e Emulator) Dynamic() bool { return e.Loader != "" }

// Part divides a guest's environment into the Variables of its Call and the emulator's
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
