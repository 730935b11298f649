package supervise

import (
	"fmt"
	"runtime/debug"

	"binproxy/emu/supervise/tracee"
)

// attend serves a stop and survives a panic. What a tracee asks for, or a file that it shows, may
// trigger a fault of ours, which must not end all other tracees.
func (s *supervisor) attend(t *task, stop tracee.Stop) (err error) {
	defer s.survive(t, &err)
	return s.serve(t, stop)
}

// survive is deferred where one tracee is served; t is nil if that has ended. A panic ends only
// that tracee. One line reports it, in debug mode also where it happened.
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
