package spoof

import (
	"golang.org/x/sys/unix"

	"binproxy/emu/seccomp"
	"binproxy/emu/supervise/tracee"
)

// Where mounts cover the kernel's files, nothing but uname is stopped. But a process in a user
// namespace of its own can mount a new /proc or /sys, which tells the truth, and nobody outside
// can cover that. So a process that makes such a namespace gets one more filter, which its
// children inherit: it stops their opens. Opens do not reach our listener by it, since only one
// filter has a listener; there a thread calls for help by the uname call, for which the first
// filter has it.

// newRules stop the calls that make a user namespace.
func newRules() (rules []seccomp.Rule) {
	when := &seccomp.Equal{Arg: 0, Value: unix.CLONE_NEWUSER, Mask: unix.CLONE_NEWUSER | unix.CLONE_UNTRACED}
	for i, c := range newCalls {
		rules = append(rules, seccomp.Rule{Arch: c.Arch, Number: c.Nr, When: when, Action: seccomp.Trace(dataNew + uint16(i))})
	}
	return rules
}

// newBegin serves a thread about to make a user namespace: its opens are traced from now on.
func (s *Spoof) newBegin(t Thread, c *call) (tracee.Progress, error) {
	regs, err := t.Registers()
	if err != nil {
		return nil, err
	}
	err = t.Quietly(func() error {
		if err := t.AddFilter(c.ABI, regs, tracee.Entering, tracee.Further{Kind: innerFilter, Rules: openRules(dataInner)}); err != nil {
			s.debug(t.TID(), "a new user namespace: %v", err)
		}
		back := regs
		back.Again(uint64(c.Nr))
		return t.SetRegisters(back)
	})
	if err != nil {
		return nil, err
	}
	return &open{spoof: s, thread: t, call: c, args: c.args(&regs)}, t.Continue(0)
}

// helped is an open whose thread calls for help by the uname call of its ABI.
func helped(c call) *call {
	for i := range unameCalls {
		if unameCalls[i].ABI == c.ABI {
			c.help = &unameCalls[i].Call
			break
		}
	}
	return &c
}
