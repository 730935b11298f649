package supervise

import (
	"strconv"

	"golang.org/x/sys/unix"

	"binproxy/emu/supervise/tracee"
)

// A write to a pipe or a socket, or a read that waits for all of its bytes, ends with a part of
// them when a signal comes. A signal that the process ignores must not do that either. So the
// tracee then makes the call for the rest, and gets the sum as the result of its own call.

// cut is such a call.
type cut struct {
	s       *supervisor
	t       *task
	regs    tracee.Registers // as the tracee's own call has left them
	entered bool             // it is in the call for the rest
}

// ToEnd is always true.
func (c *cut) ToEnd() bool { return true }

// Drop has nothing to release.
func (c *cut) Drop() {}

// completes lets a tracee go on with the rest of a call that an ignored signal has cut, and
// reports whether it does.
func (s *supervisor) completes(t *task, signal unix.Signal) (goes bool, err error) {
	regs, err := t.Registers()
	if err != nil || !regs.Cut() || !s.ignores(t, signal) || !s.isStream(t, regs.FD()) {
		return false, nil
	}
	c := &cut{s: s, t: t, regs: regs}
	regs.Rest()
	if err := t.SetRegisters(regs); err != nil {
		return true, err
	}
	t.call = c
	return true, t.ToSyscall(0)
}

// isStream reports whether a tracee's descriptor is a pipe or a socket. To write on to a file
// could raise SIGXFSZ.
func (s *supervisor) isStream(t *task, fd int) bool {
	var st unix.Stat_t
	err := unix.Fstatat(s.sight.Proc, strconv.Itoa(t.TID())+"/fd/"+strconv.Itoa(fd), &st, 0)
	return err == nil && (st.Mode&unix.S_IFMT == unix.S_IFIFO || st.Mode&unix.S_IFMT == unix.S_IFSOCK)
}

// Stop serves the start and the end of the call for the rest. A signal before its start ends it:
// the next one may cut the tracee's own call again.
func (c *cut) Stop(stop tracee.Stop) (tracee.Outcome, error) {
	switch {
	case stop.Kind == tracee.Signal:
		c.t.call = nil
		if err := c.t.SetRegisters(c.regs); err != nil {
			return tracee.Over, err
		}
		return tracee.More, c.s.signalStop(c.t, stop.Signal)
	case stop.Kind != tracee.Syscall:
		return tracee.Foreign, nil
	case !c.entered:
		c.entered = true
		return tracee.More, c.t.ToSyscall(0)
	}
	rest, err := c.t.Registers()
	if err != nil {
		return tracee.Over, err
	}
	c.regs.SetResult(c.regs.Result() + max(rest.Result(), 0))
	if err := c.t.SetRegisters(c.regs); err != nil {
		return tracee.Over, err
	}
	return tracee.Over, c.t.Continue(0)
}
