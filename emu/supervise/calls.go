package supervise

import (
	"binproxy/emu/seccomp"
)

// execCall is one system call that execs: execve or execveat (at) of one ABI.
type execCall struct {
	arch, nr uint32
	at       bool
	compat   bool // a 32-bit ABI of a 64-bit host, with registers of its own
	numbers  numbers
}

// numbers are the calls of an ABI that a tracee is made to make.
type numbers struct{ execve, execveat, prctl, close uint64 }

// helpArg is the argument that execve does not have. A call for help is an execve with the cookie there, which
// only the supervisor makes a tracee do: whatever filters a tracee has put on itself, an execve they let it do.
const helpArg = 5

// help is the cookie as registers of the ABI hold it.
func (c *execCall) help(cookie uint64) uint64 {
	if c.compat {
		return cookie & 0xffffffff
	}
	return cookie
}

// filter stops every call that execs, and hands calls for help to the listener if there is one.
func filter(cookie uint64, listener bool) []seccomp.Rule {
	var rules []seccomp.Rule
	for i := range execCalls {
		c := &execCalls[i]
		if listener && !c.at {
			rules = append(rules, seccomp.Rule{Arch: c.arch, Number: c.nr, When: &seccomp.Equal{Arg: helpArg, Value: c.help(cookie)}, Action: seccomp.Notify})
		}
		rules = append(rules, seccomp.Rule{Arch: c.arch, Number: c.nr, Action: seccomp.Trace(uint16(i + 1))})
	}
	return rules
}
