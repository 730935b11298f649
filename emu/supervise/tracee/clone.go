package tracee

import (
	"golang.org/x/sys/unix"

	"binproxy/emu/seccomp"
)

// A thread may ask that its child is not traced (CLONE_UNTRACED). The child inherits the filter
// all the same: without a tracer each of its execs ends with ENOSYS, and it would not end with us.
// So the filter stops a clone that has this flag, and the tracer removes the flag. The filter
// cannot see the flags of clone3, which are in memory. Stopping every clone3 for a flag that
// nobody needs would cost each new thread two context switches.

// dataUntraced is the filter's data for a clone, plus its index in clones.
const dataUntraced = 0x300

// untraced are the rules that stop clones with the flag.
func untraced() (rules []seccomp.Rule) {
	flag := &seccomp.Equal{Arg: 0, Value: unix.CLONE_UNTRACED, Mask: unix.CLONE_UNTRACED}
	for i, c := range clones {
		rules = append(rules, seccomp.Rule{Arch: c.Arch, Number: c.Nr, When: flag, Action: seccomp.Trace(dataUntraced + uint16(i))})
	}
	return rules
}

// Untraced returns the clone that the filter's data names; nil if it names none.
func Untraced(data uint) *Call {
	if i := data - dataUntraced; data >= dataUntraced && i < uint(len(clones)) {
		return &clones[i]
	}
	return nil
}

// Trace removes the flag from a clone. (The kernel keeps the argument's register, so a program
// that reads it afterwards finds it without the flag.)
func (r *Registers) Trace(c *Call) { *r.Arg(c.ABI, 0) &^= unix.CLONE_UNTRACED }
