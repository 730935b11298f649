package supervise

import (
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"binproxy/emu/observe"
	"binproxy/emu/supervise/tracee"
	"binproxy/emu/sys"
)

// Observer learns of every process, exec and end, with the CPU time that the process has used.
type Observer interface {
	Forked(pid, parent int)
	Execed(pid int, program observe.Program, cpu time.Duration)
	Exited(pid int, status unix.WaitStatus, cpu time.Duration)
}

// maxCommand is how many bytes of a command line are kept for an observer.
const maxCommand = 4096

// asked keeps the path that an exec names, for execed.
func (s *supervisor) asked(t *task, path string) {
	if s.config.Observer != nil {
		t.path = path
	}
}

// execed reports a new program. Its stack is as execve left it, with the caller's arguments.
func (s *supervisor) execed(t *task, e *exec) {
	if s.config.Observer == nil {
		return
	}
	p := observe.Program{File: t.path, Argv: s.commandLine(t.TID())}
	if e != nil {
		p.Arch, p.Why = e.plan.ABI.Name, e.why
		if e.plan.Twin != nil {
			p.Twin = e.verdict.Name
		}
		if e.verdict != nil && e.verdict.Rule != nil {
			p.Speed = e.verdict.Rule.Speed
		}
	}
	t.path = ""
	s.config.Observer.Execed(t.TID(), p, processCPU(t.TID()))
}

// entered reports a new process. A thread of a known process is not one. The child's stop may come
// before the parent's, so the parent is asked of the kernel.
func (s *supervisor) entered(t *task) {
	if s.config.Observer == nil {
		return
	}
	status, _ := s.sight.Status(strconv.Itoa(t.TID()))
	if status.Group != 0 && status.Group != t.TID() {
		t.group = status.Group
		return
	}
	parent := status.Parent
	if parent == os.Getpid() {
		parent = 0
	}
	s.config.Observer.Forked(t.TID(), parent)
}

// ended reports the end of a process. The end of one of its threads is not reported.
func (s *supervisor) ended(stop tracee.Stop) {
	defer s.survive(nil, new(error))
	if s.config.Observer == nil {
		return
	}
	if t := s.tasks[stop.TID]; t != nil && t.group == 0 {
		s.config.Observer.Exited(stop.TID, stop.Status, stop.CPU)
	}
}

func processCPU(pid int) time.Duration {
	cpu, err := sys.ProcessCPU(pid)
	if err != nil {
		return observe.Unknown
	}
	return cpu
}

// commandLine reads the arguments of a process, up to maxCommand bytes of them.
func (s *supervisor) commandLine(tid int) []string {
	fd, err := sys.Openat(s.sight.Proc, strconv.Itoa(tid)+"/cmdline", unix.O_RDONLY)
	if err != nil {
		return nil
	}
	f := os.NewFile(uintptr(fd), "cmdline")
	defer f.Close()
	b, _ := io.ReadAll(io.LimitReader(f, maxCommand))
	if len(b) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00")
}
