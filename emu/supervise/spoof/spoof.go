// Package spoof gives programs a uname identity that is not the kernel's own.
//
// For that the filter has more stops: uname in all its variants, whose answer is overwritten at
// the call's end, and, if the kernel's files are traced, every open for reading, which is given
// another file. At each exec the new program's vDSO is changed. Where mounts cover the files
// instead, the launcher makes the mounts before it starts the command (Prepare).
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

// Spoof tells programs an identity.
type Spoof struct {
	identity identity.Identity
	sight    *sight.Sight
	debug    func(tid int, format string, args ...any)

	files  []*identityFile
	opened bool // files are those of this machine
	vdsos  map[vdsoKind][]patch
	header [elfHeader]byte // room for that of a vDSO
}

// New is a spoof of an identity. debug takes notes on a thread.
func New(id identity.Identity, s *sight.Sight, debug func(tid int, format string, args ...any)) *Spoof {
	return &Spoof{identity: id, sight: s, debug: debug, vdsos: map[vdsoKind][]patch{}}
}

// Thread is a stopped thread that is told (tracee.Thread).
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
}

// The filter's data for the calls that a spoof stops: one of these plus the index in the table.
// Those that exec are below.
const (
	dataUname = 0x100
	dataOpen  = 0x200
	dataIndex = 0xff
)

// call is a call that a spoof stops.
type call struct {
	tracee.Call
	unameOf layout
	openOf  openForm
}

// rules stop the calls that a spoof needs to see.
func rules(id identity.Identity, proc identity.Proc) []seccomp.Rule {
	if id.IsZero() {
		return nil
	}
	var rules []seccomp.Rule
	for i, c := range unameCalls {
		rules = append(rules, seccomp.Rule{Arch: c.Arch, Number: c.Nr, Action: seccomp.Trace(dataUname + uint16(i))})
	}
	if proc != identity.ProcTrace {
		return rules
	}
	for i, c := range openCalls {
		for _, when := range c.openOf.reading() {
			rules = append(rules, seccomp.Rule{Arch: c.Arch, Number: c.Nr, When: when, Action: seccomp.Trace(dataOpen + uint16(i))})
		}
	}
	return rules
}

// Begin is a thread about to make the call that the filter's data names. It is let go on; what the
// call still asks for is the progress, nil for nothing. Of no spoof, the thread's own filter asked
// for the stop.
func (s *Spoof) Begin(t Thread, data uint) (tracee.Progress, error) {
	i := int(data & dataIndex)
	switch {
	case s == nil:
	case data&^dataIndex == dataUname && i < len(unameCalls):
		return s.unameBegin(t, &unameCalls[i])
	case data&^dataIndex == dataOpen && i < len(openCalls):
		return s.openBegin(t, &openCalls[i])
	}
	return nil, t.Continue(0)
}

// The launcher is told the spoof as one argument: how the files are told, then the five fields, by
// lines. None has a newline in it (identity.Check).

// Prepare is the launcher's part: it covers the kernel's files with mounts if that is asked for,
// and gives the rules of the filter, which stops opens where the kernel refuses the mounts. Where
// no /proc is mounted there is nothing to tell.
func Prepare(id identity.Identity, proc identity.Proc) ([]seccomp.Rule, error) {
	if proc == identity.ProcAuto && !id.IsZero() {
		err := identity.Mount(id.Files(readFile))
		switch {
		case err == nil, errors.Is(err, unix.ENOENT):
		case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EINVAL):
			proc = identity.ProcTrace
		default:
			return nil, err
		}
	}
	return rules(id, proc), nil
}

func readFile(path string) ([]byte, error) { return os.ReadFile(path) }
