// Package observe reports what ran: a trace of every program, written while it runs, and a summary
// of the costliest.
//
// The supervisor reports to a Log each new process, each exec and each end, and the CPU time that
// the process had used by then. A process is a chain of programs: its parent's program after its
// fork, up to its first exec, and then the program of each exec, up to the next one or to its end.
// The Log keeps only the current link of each living process; ended links are written or added up,
// and forgotten.
package observe

import (
	"io"
	"maps"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Program is what an exec started.
type Program struct {
	File string   // the path that was executed
	Argv []string // as the caller gave it, perhaps shortened
	Arch string   // the guest ABI's name; "" for a host-native program
	Twin string   // the name of the twin that runs in the guest program's place; "" for none
	Why  string   // if a rule allows an emulated program a twin: why it has none
	// Speed is about how many times faster a twin runs than the emulated program; 0 where no rule
	// says.
	Speed int
}

// name is the file's name.
func (p *Program) name() string {
	file := p.File
	if file == "" && len(p.Argv) > 0 {
		file = p.Argv[0]
	}
	for i := len(file) - 1; i >= 0; i-- {
		if file[i] == '/' && i < len(file)-1 {
			return file[i+1:]
		}
	}
	return file
}

// kind is the guest ABI's name, "native" or "twin".
func (p *Program) kind() string {
	switch {
	case p.Twin != "":
		return "twin"
	case p.Arch == "":
		return "native"
	}
	return p.Arch
}

// Unknown is a CPU time that could not be read.
const Unknown = time.Duration(-1)

// Log takes the supervisor's notes. It is not safe for use by several goroutines.
type Log struct {
	living  map[int]*link
	clock   func() time.Duration // since the start
	trace   *trace               // nil: not asked for
	summary *summary             // nil: not asked for
}

// link is what a process runs.
type link struct {
	pid, parent int
	program     *Program // shared with those that were forked from it; nil where it is not known
	forked      bool     // the program is the parent's; no exec began it
	begin       time.Duration
	cpu         time.Duration // used before it began
}

// New starts a Log that writes a trace to trace unless that is nil, and adds up a summary if
// asked.
func New(trace io.Writer, summarise bool) *Log {
	start := time.Now()
	l := &Log{living: map[int]*link{}, clock: func() time.Duration { return time.Since(start) }}
	if trace != nil {
		l.trace = newTrace(trace)
	}
	if summarise {
		l.summary = newSummary()
	}
	return l
}

// Forked records that parent has the new process pid. PIDs are those of thread groups.
func (l *Log) Forked(pid, parent int) {
	k := &link{pid: pid, parent: parent, forked: true, begin: l.clock()}
	if p := l.living[parent]; p != nil {
		k.program = p.program
	}
	l.living[pid] = k
}

// Execed records that pid runs another program from now on. cpu is what the process has used so
// far, or Unknown.
func (l *Log) Execed(pid int, program Program, cpu time.Duration) {
	now := l.clock()
	k := &link{pid: pid, program: &program, begin: now, cpu: max(cpu, 0)}
	if old := l.living[pid]; old != nil {
		k.parent = old.parent
		l.end(old, ending{at: now, cpu: cpu, exec: true})
	}
	l.living[pid] = k
	if l.trace != nil {
		l.trace.begin(k)
	}
}

// Exited records the end of pid. cpu is what the process used in all its life, or Unknown.
func (l *Log) Exited(pid int, status unix.WaitStatus, cpu time.Duration) {
	if k := l.living[pid]; k != nil {
		delete(l.living, pid)
		l.end(k, ending{at: l.clock(), cpu: cpu, status: status})
	}
}

// Close ends what still runs, and writes the trace's end. The error is the first one of writing;
// nothing was written after it.
func (l *Log) Close() error {
	now := l.clock()
	for _, pid := range slices.Sorted(maps.Keys(l.living)) {
		l.end(l.living[pid], ending{at: now, cpu: Unknown, lost: true})
	}
	clear(l.living)
	if l.trace == nil {
		return nil
	}
	return l.trace.close()
}

// Summary prints the summary.
func (l *Log) Summary(w io.Writer) error { return l.summary.print(w, l.clock()) }

// ending is how a link ended: by an exec, with a status, or (lost) after us.
type ending struct {
	at, cpu time.Duration
	status  unix.WaitStatus
	exec    bool
	lost    bool
}

func (l *Log) end(k *link, e ending) {
	if e.cpu != Unknown {
		e.cpu = max(0, e.cpu-k.cpu)
	}
	if l.trace != nil {
		l.trace.end(k, e)
	}
	if l.summary != nil {
		l.summary.add(k, e)
	}
}
