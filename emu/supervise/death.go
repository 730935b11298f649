package supervise

import (
	"strconv"

	"golang.org/x/sys/unix"

	"binproxy/emu/arch"
	"binproxy/emu/emulator"
)

// Death is a guest program's bad end: by a signal, or with a status other than 0.
type Death struct {
	ABI      *arch.ABI
	Emulator emulator.Emulator
	Path     string // the program's path, for a message
	File     string // a path by which we can open the program until Died returns
	Status   unix.WaitStatus
	Env      []string // that of the first command
}

// died reports an ended process if it ran a guest and ended badly.
func (s *supervisor) died(tid int, status unix.WaitStatus) {
	defer s.survive(nil, new(error))
	if s.config.Died == nil || status.Exited() && status.ExitStatus() == 0 {
		return
	}
	t := s.tasks[tid]
	if t == nil || t.guest == nil || t.guest.emulator == nil {
		return
	}
	path := t.guest.path
	if path == "" {
		path, _ = s.sight.PathOf(t.guest.fd)
	}
	s.config.Died(Death{t.guest.abi, t.guest.emulator.Emulator, path, "/proc/self/fd/" + strconv.Itoa(t.guest.fd), status, s.config.Env})
}
