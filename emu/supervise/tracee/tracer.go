package tracee

import (
	"cmp"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"binproxy/emu/sys"
)

// Tracer is the thread that traces. The kernel reports the stops of all its tracees in one queue.
// So a stop that it finds while it waits for another tracee's is kept for Next.
type Tracer struct {
	Proc     int                 // a descriptor of /proc
	Cookie   uint64              // marks the calls for help: see Filter
	CPU      bool                // read the CPU time of processes that end
	Listener func() (int, error) // the filter's listener, which can hand over descriptors

	// running threads that could look at a thread if that were dumpable
	Witnesses func(tid int) []int

	kept     []Stop
	patience time.Duration // of halt; 0 for the usual
}

// Kind says why a thread has stopped, or that it has ended; the names are ptrace(2)'s.
type Kind int

// The kinds of stops.
const (
	Ended   Kind = iota // it has ended, with Status
	Signal              // signal-delivery-stop: it is about to get Signal
	Syscall             // syscall-stop: here always the end of a call
	Seccomp             // seccomp-stop: it is about to make a call that the filter stops
	Exec                // it has a new program
	Fork                // it has a new child, or a new thread
	Vfork               // it has a new child, which runs in its memory
	Group               // group-stop by Signal; SIGTRAP: the end of one, or the very first stop
)

// Stop is what waiting for a thread returned.
type Stop struct {
	TID    int
	Kind   Kind
	Signal unix.Signal
	Status unix.WaitStatus
	CPU    time.Duration // of a process that has ended; negative if unknown
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

// Seize begins to trace a running thread. Every child of it is traced, too, and ends with the
// tracer.
func (t *Tracer) Seize(tid int) error { return sys.Seize(tid, options) }

// Thread returns a thread that is already traced.
func (t *Tracer) Thread(tid int) *Thread { return &Thread{tid: tid, tracer: t} }

// Next returns the next stop of any tracee.
func (t *Tracer) Next() (Stop, error) {
	if len(t.kept) > 0 {
		stop := t.kept[0]
		t.kept = t.kept[1:]
		return stop, nil
	}
	return t.wait()
}

const unknown = -1

// wait waits. The record of a thread ends with the thread, except for its end: after an exec
// another thread may stop under its number.
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

// report waits. The CPU time of an ended process can be read only before the kernel learns that
// its end was noticed.
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

// waitFor waits for one thread's next stop. Waiting for that thread alone could last for ever:
// after a group is killed, its leader can be waited for only after all its threads.
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

// patience limits how long halt waits for threads that the kernel does not stop: these do not run
// either.
const patience = 20 * time.Millisecond

// halt stops threads. Each stops for whatever comes first; that stop is kept for Next.
func (t *Tracer) halt(threads []int) {
	for _, tid := range threads {
		if !t.hasStopped(tid) {
			_ = sys.Interrupt(tid)
		}
	}
	end := time.Now().Add(cmp.Or(t.patience, patience))
	for _, tid := range threads {
		for !t.hasStopped(tid) && time.Now().Before(end) {
			time.Sleep(50 * time.Microsecond)
			if _, err := t.look(0); err != nil {
				return
			}
		}
	}
}

// hasStopped reports whether a thread has stopped or ended and nobody was told yet.
func (t *Tracer) hasStopped(tid int) bool {
	return slices.ContainsFunc(t.kept, func(k Stop) bool { return k.TID == tid })
}
