package tracee

import (
	"golang.org/x/sys/unix"

	"binproxy/emu/seccomp"
)

// A thread may ask that what it starts is not traced (CLONE_UNTRACED). The filter is inherited all
// the same, and without a tracer every exec ends with ENOSYS; nor would the child end with us. So
// the filter stops a clone that asks for it, and the flag is left out. It cannot look at that of
// clone3, which is in memory; and to stop all of those for a flag that nobody has a use for would
// cost every new thread two switches of context.

// dataUntraced is the filter's data for a clone, with its index in clones.
const dataUntraced = 0x300

// untraced are the rules that stop clones with the flag.
func untraced() (rules []seccomp.Rule) {
	flag := &seccomp.Equal{Arg: 0, Value: unix.CLONE_UNTRACED, Mask: unix.CLONE_UNTRACED}
	for i, c := range clones {
		rules = append(rules, seccomp.Rule{Arch: c.Arch, Number: c.Nr, When: flag, Action: seccomp.Trace(dataUntraced + uint16(i))})
	}
	return rules
}

// Untraced is the clone that the filter's data names; nil where it names none.
func Untraced(data uint) *Call {
	if i := data - dataUntraced; data >= dataUntraced && i < uint(len(clones)) {
		return &clones[i]
	}
	return nil
}

// Trace leaves the flag out of a clone. (A program that looks at the argument's register
// afterwards, which the kernel keeps, finds it without the flag.)
func (r *Registers) Trace(c *Call) { *r.Arg(c.ABI, 0) &^= unix.CLONE_UNTRACED }
