package supervise

import (
	"fmt"
	"runtime/debug"

	"binproxy/emu/supervise/tracee"
)

// attend serves a stop, and outlives what goes wrong about it: what a tracee asks for, or a file
// in its world, may find a fault of ours, which must not be the end of all the others.
func (s *supervisor) attend(t *task, stop tracee.Stop) (err error) {
	defer s.survive(t, &err)
	return s.serve(t, stop)
}

// survive is deferred where one tracee is served, t unless that has ended: a panic ends the tracee
// alone. One line says so, and in debug where it was.
func (s *supervisor) survive(t *task, err *error) {
	why := recover()
	if why == nil {
		return
	}
	s.sight.Return()
	*err = fmt.Errorf("a fault in binproxy itself: %v", why)
	tid := 0
	if t != nil {
		tid = t.TID()
		t.Kill()
		*err = fmt.Errorf("process %d is ended for %w", tid, *err)
	}
	s.say("%v; BINPROXY_DEBUG=1 shows where", *err)
	s.debug(tid, "%s", debug.Stack())
}
