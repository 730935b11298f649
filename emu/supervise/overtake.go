package supervise

import (
	"slices"

	"binproxy/emu/supervise/tracee"
	"binproxy/emu/sys"
)

// In execve a thread takes over the number of its group's leader, which is killed, stopped or not.
// Whatever the supervisor then does to the leader's number affects the new program. So a leader's
// stop waits as long as another thread of its group may be in execve: until that thread stops, by
// its exec or otherwise.

// mayOvertake records a thread that goes on into an exec and does not lead its group.
func (s *supervisor) mayOvertake(t *task) {
	if !sys.LeadsGroup(t.TID()) {
		s.overtakers[t.TID()] = t
	}
}

// stopped records that a thread has stopped or ended, and serves the stops that waited for it.
func (s *supervisor) stopped(tid int) {
	if s.overtakers[tid] == nil {
		return
	}
	delete(s.overtakers, tid)
	waiting := s.waiting
	s.waiting = nil
	for _, stop := range waiting {
		if !s.waits(stop) {
			s.stop(stop)
		}
	}
}

// waits reports whether a stop must wait, and then stores it. A thread that was let go with its
// exec need not stop soon, so it is interrupted.
func (s *supervisor) waits(stop tracee.Stop) bool {
	for tid, t := range s.overtakers {
		if tid == stop.TID || sys.Separate(stop.TID, tid) {
			continue
		}
		s.waiting = append(s.waiting, stop)
		if leader := s.tasks[stop.TID]; leader != nil && stop.Kind == tracee.Signal {
			s.noteFatal(leader, stop.Signal, true)
		}
		if t.call == nil {
			t.nudged = true
			t.Interrupt()
		}
		return true
	}
	return false
}

// overtaken forgets the stops of a thread that is gone.
func (s *supervisor) overtaken(tid int) {
	s.waiting = slices.DeleteFunc(s.waiting, func(stop tracee.Stop) bool { return stop.TID == tid })
}
