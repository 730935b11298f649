// Package spoof gives programs a uname identity that is not the kernel's own.
//
// The filter then stops more calls: every variant of uname, whose answer is overwritten at the end
// of the call, and, if the kernel's files are traced, every open for reading, which gives another
// file. At each exec the vDSO of the new program is changed. If mounts cover the files instead,
// the launcher makes the mounts before it starts the command (Prepare).
package spoof

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"binproxy/emu/identity"
	"binproxy/emu/seccomp"
	"binproxy/emu/supervise/sight"
	"binproxy/emu/supervise/tracee"
)

// Spoof gives programs an identity.
type Spoof struct {
	identity identity.Identity
	sight    *sight.Sight
	debug    func(tid int, format string, args ...any)

	files  []*identityFile
	opened bool // files holds what this machine has
	vdsos  map[vdsoKind][]patch
	header [elfHeader]byte // room for a vDSO's header
}

// New returns a spoof of an identity. debug prints notes on a thread.
func New(id identity.Identity, s *sight.Sight, debug func(tid int, format string, args ...any)) *Spoof {
	return &Spoof{identity: id, sight: s, debug: debug, vdsos: map[vdsoKind][]patch{}}
}

// Thread is a stopped thread that gets the identity (tracee.Thread).
type Thread interface {
	TID() int
	Read(addr uint64, b []byte) error
	Write(addr uint64, b []byte) error
	ReadString(addr uint64, limit int) (string, error)
	Registers() (tracee.Registers, error)
	SetRegisters(tracee.Registers) error
	Instead(abi *tracee.ABI, r tracee.Registers, nr, a, b uint64) (int64, error)
	CallAt(abi *tracee.ABI, r tracee.Registers, ip, nr, a, b uint64) (int64, error)
	Give(call *tracee.Call, r tracee.Registers, from tracee.Where, files []tracee.File) error
	WhileDumpable(abi *tracee.ABI, r tracee.Registers, was int64, do func() error) error
	Quietly(do func() error) error
	Continue(signal unix.Signal) error
	ToSyscall(signal unix.Signal) error
	AddFilter(abi *tracee.ABI, r tracee.Registers, from tracee.Where, f tracee.Further) error
	Borrowed(at uint64, text []byte, do func() error) error
}

// The filter's data for the calls that a spoof stops is one of these plus the index in the table.
// Data for exec calls is below them.
const (
	dataUname = 0x100
	dataOpen  = 0x200
	dataInner = 0x400 // an open, by the filter of a process in a user namespace of its own
	dataNew   = 0x500 // a call that makes such a namespace
	dataStat  = 0x600 // a look at an open file, by the filter of a process that has such a file
	dataIndex = 0xff
)

// The kinds of further filters.
const (
	innerFilter uint16 = iota
	statFilter
)

// call is a call that a spoof stops.
type call struct {
	tracee.Call
	unameOf layout
	statOf  statForm
	openOf  openForm
	fstatAt uint32       // the number of fstatat, for fstat
	help    *tracee.Call // the call by which the thread calls for help; nil for the call itself
}

// rules stop the calls that a spoof must see.
func rules(id identity.Identity, proc identity.Proc) []seccomp.Rule {
	if id.IsZero() {
		return nil
	}
	var rules []seccomp.Rule
	for i, c := range unameCalls {
		rules = append(rules, seccomp.Rule{Arch: c.Arch, Number: c.Nr, Action: seccomp.Trace(dataUname + uint16(i))})
	}
	switch proc {
	case identity.ProcTrace:
		rules = append(rules, openRules(dataOpen)...)
	case identity.ProcCovered:
		rules = append(rules, newRules()...)
	}
	return rules
}

func openRules(data uint16) (rules []seccomp.Rule) {
	for i, c := range openCalls {
		for _, when := range c.openOf.reading() {
			rules = append(rules, seccomp.Rule{Arch: c.Arch, Number: c.Nr, When: when, Action: seccomp.Trace(data + uint16(i))})
		}
	}
	return rules
}

// Begin serves a thread about to make the call that the filter's data names, and lets it go on.
// The result is the progress of that call, nil if nothing more is to do. If the data is no
// spoof's, the thread's own filter asked for the stop.
func (s *Spoof) Begin(t Thread, data uint) (tracee.Progress, error) {
	i := int(data & dataIndex)
	switch {
	case s == nil:
	case data&^dataIndex == dataUname && i < len(unameCalls):
		return s.unameBegin(t, &unameCalls[i])
	case data&^dataIndex == dataOpen && i < len(openCalls):
		return s.openBegin(t, &openCalls[i])
	case data&^dataIndex == dataInner && i < len(openCalls):
		return s.openBegin(t, helped(openCalls[i]))
	case data&^dataIndex == dataNew && i < len(newCalls):
		return s.newBegin(t, &newCalls[i])
	case data&^dataIndex == dataStat && i < len(statCalls):
		return nil, s.statBegin(t, &statCalls[i])
	}
	return nil, t.Continue(0)
}

// The launcher gets the spoof as one argument of lines: how the files are served, then the five
// fields. No field has a newline in it (identity.Check).

// Prepare is the launcher's part. It covers the kernel's files with mounts if that is asked for,
// and returns the filter's rules, which stop opens if the kernel refuses the mounts. If no /proc
// is mounted there is nothing to cover.
func Prepare(id identity.Identity, proc identity.Proc) ([]seccomp.Rule, error) {
	if proc == identity.ProcAuto && !id.IsZero() {
		err := identity.Mount(id.Files(readFile))
		switch {
		case err == nil:
			proc = identity.ProcCovered
		case errors.Is(err, unix.ENOENT):
		case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EINVAL):
			proc = identity.ProcTrace
		default:
			return nil, err
		}
	}
	return rules(id, proc), nil
}

func readFile(path string) ([]byte, error) { return os.ReadFile(path) }
