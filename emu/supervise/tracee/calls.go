package tracee

import (
	"binproxy/emu/seccomp"
)

// ABI is one of the host's: how its programs make system calls, and the numbers of those that they
// are made to make.
type ABI struct {
	Arch   uint32 // AUDIT_ARCH
	compat bool   // a 32-bit ABI of a 64-bit host, with registers of its own

	Execve, Execveat, Prctl, Close uint64
}

// Call is a system call of an ABI.
type Call struct {
	*ABI
	Nr uint32
}

// At reports whether it is execveat, which has the descriptor of a directory in front of its
// arguments.
func (c *Call) At() bool { return uint64(c.Nr) == c.Execveat }

// helpArg is the argument that execve does not have. A call for help is an execve with the cookie
// there, which only the tracer makes a thread do: whatever filters a thread has put on itself, an
// execve they let it do.
const helpArg = 5

// help is the cookie as registers of the ABI hold it.
func (a *ABI) help(cookie uint64) uint64 {
	if a.compat {
		return cookie & 0xffffffff
	}
	return cookie
}

// Filter stops every call that execs, with 1 plus the index in Execs as its data, and hands calls
// for help to the listener if there is one.
func Filter(cookie uint64, listener bool) []seccomp.Rule {
	var rules []seccomp.Rule
	for i := range Execs {
		c := &Execs[i]
		if listener && !c.At() {
			help := &seccomp.Equal{Arg: helpArg, Value: c.help(cookie)}
			rules = append(rules, seccomp.Rule{Arch: c.Arch, Number: c.Nr, When: help, Action: seccomp.Notify})
		}
		rules = append(rules, seccomp.Rule{Arch: c.Arch, Number: c.Nr, Action: seccomp.Trace(uint16(i + 1))})
	}
	return rules
}
