package supervise

import (
	"golang.org/x/sys/unix"

	"binproxy/emu/arch"
	"binproxy/emu/supervise/sight"
)

// guest is the program that an emulated process runs. All processes forked from it share it.
// /proc/PID/exe names the emulator, but should name this program. Its file is held open, since it
// may be removed; but if there are many, further ones are opened again by their paths.
type guest struct {
	fd   int // O_PATH; negative if the file is not held
	refs int
	held *int   // how many guests' files are held, this one included; nil before it runs
	path string // in the root of the process, to open it by; "" for a file that is held
	file sight.FileID

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
	if g.refs--; g.refs > 0 {
		return
	}
	g.letGo()
	if g.held != nil {
		*g.held--
	}
}

func (g *guest) letGo() {
	if g.fd >= 0 {
		unix.Close(g.fd)
	}
	g.fd = -1
}

// spare is how many descriptors the supervisor needs for everything but the files of guests.
const spare = 40

// crowded reports whether no further guest's file may be held.
func (s *supervisor) crowded() bool { return s.held+spare >= s.mayOpen }

// limitFiles learns how many files the supervisor may have open.
func (s *supervisor) limitFiles() error {
	var limit unix.Rlimit
	err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) // the hard one: the Go runtime has raised it
	s.mayOpen = int(min(limit.Cur, 1<<30))
	return err
}

// newGuest is the program that an exec has found.
func (s *supervisor) newGuest(abi *arch.ABI, v *sight.View) *guest {
	g := &guest{fd: v.Last.Take(), refs: 1, abi: abi}
	if s.crowded() {
		g.path, _ = v.Inside(g.fd)
		g.file, _ = s.sight.Identify(g.fd)
	}
	if g.path != "" && !v.ByFD {
		g.letGo()
	}
	return g
}

// settle holds the file of a guest that runs from now on, or lets it go.
func (s *supervisor) settle(g *guest) {
	if g.path == "" {
		s.held++
		g.held = &s.held
		return
	}
	g.letGo()
}

// programOf opens the guest program that a process runs; negative for a native program, or if it
// is not found again.
func (s *supervisor) programOf(pid int) (fd int) {
	t := s.tasks[pid]
	if t == nil || t.guest == nil {
		return -1
	}
	g := t.guest
	if g.fd >= 0 {
		fd, _ = unix.FcntlInt(uintptr(g.fd), unix.F_DUPFD_CLOEXEC, 0)
		return fd
	}
	v, err := s.sight.View(pid, g.path, unix.AT_FDCWD)
	if err != nil {
		return -1
	}
	defer v.Close()
	fd, errno := v.Find(g.path)
	if errno != 0 {
		return -1
	}
	if file, err := s.sight.Identify(fd); err != nil || file != g.file {
		unix.Close(fd)
		return -1
	}
	return fd
}
