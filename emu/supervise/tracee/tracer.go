package tracee

import (
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"binproxy/emu/sys"
)

// Tracer is the thread that traces. The kernel reports the stops of all its tracees to it in one
// queue, so what it finds while it waits for one of them is kept for Next.
type Tracer struct {
	Proc     int                 // a descriptor of /proc
	Cookie   uint64              // marks the calls for help: see Filter
	CPU      bool                // the CPU time of what ends is to be read
	Listener func() (int, error) // the filter's listener, which can hand descriptors over

	// the threads that run and could look at one, were it dumpable
	Witnesses func(tid int) []int

	kept []Stop
}

// Kind says why a thread has stopped, or that it has ended: ptrace(2) has the names.
type Kind int

// The kinds of stops.
const (
	Ended   Kind = iota // it is gone, with Status
	Signal              // signal-delivery-stop: it is about to be given Signal
	Syscall             // syscall-stop: here always the end of a call
	Seccomp             // seccomp-stop: it is about to make a call that the filter stops
	Exec                // it has a new program
	Fork                // it has a new child, or a new thread
	Vfork               // it has a new child, which runs in its memory
	Group               // group-stop by Signal; SIGTRAP: the end of one, or the first stop of all
)

// Stop is what waiting found out about a thread.
type Stop struct {
	TID    int
	Kind   Kind
	Signal unix.Signal
	Status unix.WaitStatus
	CPU    time.Duration // of a process that has ended; negative if it is not known
}

func stopOf(s sys.Stop, cpu time.Duration) Stop {
	stop := Stop{TID: s.TID, Status: s.Status, CPU: cpu}
	if !s.Status.Stopped() {
		return stop
	}
	stop.Signal = s.Status.StopSignal()
	switch s.Event() {
	case unix.PTRACE_EVENT_SECCOMP:
		stop.Kind = Seccomp
	case unix.PTRACE_EVENT_EXEC:
		stop.Kind = Exec
	case unix.PTRACE_EVENT_FORK, unix.PTRACE_EVENT_CLONE:
		stop.Kind = Fork
	case unix.PTRACE_EVENT_VFORK:
		stop.Kind = Vfork
	case unix.PTRACE_EVENT_STOP:
		stop.Kind = Group
	default:
		stop.Kind = Signal
		if s.IsSyscall() {
			stop.Kind = Syscall
		}
	}
	return stop
}

const options = unix.PTRACE_O_EXITKILL | unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACESECCOMP |
	unix.PTRACE_O_TRACEEXEC | unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK | unix.PTRACE_O_TRACECLONE

// Seize begins to trace a running thread. All that it starts will be traced, too, and ends with
// the tracer.
func (t *Tracer) Seize(tid int) error { return sys.Seize(tid, options) }

// Thread is a thread that is traced already.
func (t *Tracer) Thread(tid int) *Thread { return &Thread{tid: tid, tracer: t} }

// Next gives the next stop of any tracee.
func (t *Tracer) Next() (Stop, error) {
	if len(t.kept) > 0 {
		stop := t.kept[0]
		t.kept = t.kept[1:]
		return stop, nil
	}
	return t.wait()
}

const unknown = -1

// wait waits. What is kept of a thread dies with it, but for its end: the thread that stops under
// its number by an exec is another one.
func (t *Tracer) wait() (Stop, error) {
	stop, err := t.report()
	return t.outdate(stop), err
}

func (t *Tracer) outdate(stop Stop) Stop {
	if len(t.kept) > 0 && (stop.Kind == Exec || stop.Kind == Ended) {
		t.kept = slices.DeleteFunc(t.kept, func(k Stop) bool { return k.TID == stop.TID && k.Kind != Ended })
	}
	return stop
}

// report waits. The CPU time of what has ended can be read only before the kernel has been told
// that its end is known.
func (t *Tracer) report() (Stop, error) {
	if !t.CPU {
		stop, err := sys.Wait(-1)
		return stopOf(stop, unknown), err
	}
	tid, ended, err := sys.WaitKeep()
	if err != nil {
		return Stop{}, err
	}
	cpu := time.Duration(unknown)
	if ended {
		if used, err := sys.ProcessCPU(tid); err == nil {
			cpu = used
		}
	}
	stop, err := sys.Wait(tid)
	return stopOf(stop, cpu), err
}

// waitFor waits for one thread's next stop. Waiting for that thread alone could last for ever: the
// leader of a group that was killed can be waited for only when all its threads have been.
func (t *Tracer) waitFor(tid int) (Stop, error) {
	for {
		stop, err := t.wait()
		if err != nil || stop.TID == tid {
			return stop, err
		}
		t.kept = append(t.kept, stop)
	}
}

// look is waitFor without waiting: a stop with TID 0 means that nothing has happened yet.
func (t *Tracer) look(tid int) (Stop, error) {
	for {
		found, err := sys.WaitNow(-1)
		stop := t.outdate(stopOf(found, unknown))
		if err != nil || stop.TID == 0 || stop.TID == tid {
			return stop, err
		}
		t.kept = append(t.kept, stop)
	}
}

// patience bounds how long halt waits for threads that the kernel does not let stop: those do not
// run either.
const patience = 20 * time.Millisecond

// halt has threads stop, each by whatever it stops for first, which is kept for Next.
func (t *Tracer) halt(threads []int) {
	for _, tid := range threads {
		if !t.hasStopped(tid) {
			_ = sys.Interrupt(tid)
		}
	}
	end := time.Now().Add(patience)
	for _, tid := range threads {
		for !t.hasStopped(tid) && time.Now().Before(end) {
			time.Sleep(50 * time.Microsecond)
			if _, err := t.look(0); err != nil {
				return
			}
		}
	}
}

// hasStopped reports whether a thread has stopped, or ended, and nobody has been told so far.
func (t *Tracer) hasStopped(tid int) bool {
	return slices.ContainsFunc(t.kept, func(k Stop) bool { return k.TID == tid })
}
