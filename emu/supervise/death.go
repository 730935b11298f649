package supervise

import (
	"strconv"

	"golang.org/x/sys/unix"

	"binproxy/emu/arch"
	"binproxy/emu/emulator"
)

// Death is a program's bad end, by a signal or with a status other than 0: a guest's, or that of a
// native one that its tracer may have hindered.
type Death struct {
	ABI      *arch.ABI // nil for a native program
	Emulator emulator.Emulator
	Path     string // the program's path, for a message
	File     string // a path by which we can open a guest's program until Died returns
	Status   unix.WaitStatus
	Env      []string // that of the first command
}

// died reports an ended process if it ended badly, and ran a guest or wanted to trace.
func (s *supervisor) died(tid int, status unix.WaitStatus) {
	defer s.survive(nil, new(error))
	if s.config.Died == nil || status.Exited() && status.ExitStatus() == 0 {
		return
	}
	t := s.tasks[tid]
	switch {
	case t == nil:
	case t.guest == nil && t.traces != "":
		s.config.Died(Death{Path: t.traces, Status: status, Env: s.config.Env})
	case t.guest != nil && t.guest.emulator != nil:
		path := t.guest.path
		if path == "" {
			path, _ = s.sight.PathOf(t.guest.fd)
		}
		s.config.Died(Death{t.guest.abi, t.guest.emulator.Emulator, path, "/proc/self/fd/" + strconv.Itoa(t.guest.fd), status, s.config.Env})
	}
}

// traces notes that a process has started a child that nobody is to trace. It is the child that
// will trace its parent: LeakSanitizer's.
func (s *supervisor) traces(t *task) {
	if s.config.Died == nil || t.guest != nil {
		return
	}
	status, err := s.sight.Status(strconv.Itoa(t.TID()))
	leader := s.tasks[status.Group]
	if err == nil && leader != nil {
		leader.traces = s.sight.Exe(status.Group)
	}
}
