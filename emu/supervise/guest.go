package supervise

import (
	"golang.org/x/sys/unix"

	"binproxy/emu/arch"
)

// guest is the program that an emulated process runs. All processes forked from it share it.
// /proc/PID/exe names the emulator, but should name this program.
type guest struct {
	fd   int // O_PATH
	refs int

	abi      *arch.ABI
	emulator *opened // nil if a twin runs
}

func (g *guest) share() *guest {
	if g != nil {
		g.refs++
	}
	return g
}

func (g *guest) drop() {
	if g == nil {
		return
	}
	if g.refs--; g.refs == 0 {
		unix.Close(g.fd)
	}
}

// programOf returns the guest program that a process runs; negative for a native program.
func (s *supervisor) programOf(pid int) (fd int) {
	if t := s.tasks[pid]; t != nil && t.guest != nil {
		return t.guest.fd
	}
	return -1
}
