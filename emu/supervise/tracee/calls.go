package tracee

import (
	"binproxy/emu/seccomp"
)

// ABI is one of the host's ABIs: how its programs make system calls, and the numbers of those that
// a thread may be made to make.
type ABI struct {
	Arch   uint32 // AUDIT_ARCH
	compat bool   // a 32-bit ABI of a 64-bit host, with registers of its own

	Execve, Execveat, Prctl, Close, Seccomp uint64
}

// Call is a system call of an ABI.
type Call struct {
	*ABI
	Nr uint32
}

// At reports whether the call is execveat, which has a directory's descriptor before its
// arguments.
func (c *Call) At() bool { return uint64(c.Nr) == c.Execveat }

// cookieArg is an argument that no call that the filter stops has. Only the tracer puts a cookie
// there. With a cookie, the call is either a call for help or one that the filter must let pass. A
// call for help is the same call that the thread is making, so a filter of the thread's own that
// has let this through lets that through, too.
const cookieArg = 5

// word is a value as registers of the ABI hold it.
func (a *ABI) word(value uint64) uint64 {
	if a.compat {
		return value & 0xffffffff
	}
	return value
}

// pass is the cookie of the calls that the filter lets pass.
func pass(cookie uint64) uint64 { return ^cookie }

// Filter stops every call that execs, with 1 plus the index in Execs as its data, and the calls of
// the further rules. It hands calls for help to the listener if there is one, and lets the calls
// with the cookie pass.
func Filter(cookie uint64, listener bool, further []seccomp.Rule) []seccomp.Rule {
	var rules, stops []seccomp.Rule
	for i, c := range Execs {
		when := &seccomp.Equal{Arg: cookieArg, Value: c.word(pass(cookie))}
		rules = append(rules, seccomp.Rule{Arch: c.Arch, Number: c.Nr, When: when, Action: seccomp.Allow})
		stops = append(stops, seccomp.Rule{Arch: c.Arch, Number: c.Nr, Action: seccomp.Trace(uint16(i + 1))})
	}
	stops = append(stops, further...)
	for _, r := range stops {
		if listener {
			r.When, r.Action = &seccomp.Equal{Arg: cookieArg, Value: cookieOf(r.Arch, cookie)}, seccomp.Notify
			rules = append(rules, r)
		}
	}
	return append(append(rules, stops...), untraced()...)
}

// cookieOf is the cookie as registers hold it in the ABI with this AUDIT_ARCH.
func cookieOf(arch uint32, cookie uint64) uint64 {
	for _, c := range Execs {
		if c.Arch == arch {
			return c.word(cookie)
		}
	}
	return cookie
}
