package supervise

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"binproxy/emu/identity"
	"binproxy/emu/seccomp"
	"binproxy/emu/supervise/tracee"
)

// A spoofed identity asks for more stops, and only then are they in the filter: uname in all its variants, whose answer is overwritten at
// the call's end (uname.go), and, if the kernel's files are to be traced, every open for reading (opens.go). At each exec the new
// program's vDSO is told (vdso.go). Where the files are covered by mounts instead, the launcher does that before it starts (identity.Mount).

// spoof is what the supervisor needs for it.
type spoof struct {
	identity identity.Identity
	files    []*toldFile
	opened   bool // files are those of this machine
	vdsos    map[vdsoKind][]patch
}

// The filter's data for the calls that a spoof stops: one of these plus the index in the table. Those that exec are below.
const (
	dataUname = 0x100
	dataOpen  = 0x200
	dataIndex = 0xff
)

// spoofedCall is a call that a spoof stops.
type spoofedCall struct {
	tracee.Call
	unameOf layout
	openOf  openForm
}

// rules stop the calls that a spoof needs to see.
func spoofRules(id identity.Identity, proc identity.Proc) []seccomp.Rule {
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

// spoofStop is a tracee about to make one of these calls.
func (s *supervisor) spoofStop(t *task, data uint) error {
	if s.spoof == nil {
		return t.Continue(0) // the tracee's own filter asked for this
	}
	i := int(data & dataIndex)
	switch data &^ dataIndex {
	case dataUname:
		if i < len(unameCalls) {
			return s.unameStop(t, &unameCalls[i])
		}
	case dataOpen:
		if i < len(openCalls) {
			return s.openStop(t, &openCalls[i])
		}
	}
	return t.Continue(0)
}

// The launcher is told the spoof as one argument: how the files are told, then the five fields, by lines. None has a newline in it
// (identity.Check).

func encodeSpoof(id identity.Identity, proc identity.Proc) string {
	if id.IsZero() {
		return ""
	}
	lines := []string{string(proc)}
	for _, f := range identity.Fields {
		lines = append(lines, *f.Of(&id))
	}
	return strings.Join(lines, "\n")
}

func decodeSpoof(text string) (id identity.Identity, proc identity.Proc, err error) {
	if text == "" {
		return id, identity.ProcNo, nil
	}
	lines := strings.Split(text, "\n")
	if len(lines) != 1+len(identity.Fields) {
		return id, "", fmt.Errorf("%s: %q is no identity", LaunchName, text)
	}
	for i, f := range identity.Fields {
		*f.Of(&id) = lines[1+i]
	}
	proc, err = identity.ParseProc(lines[0])
	return id, proc, err
}

// prepareSpoof is the launcher's part: it covers the kernel's files with mounts if that is asked for, and gives the rules of the filter,
// which stops opens where the kernel refuses the mounts. Where no /proc is mounted there is nothing to tell.
func prepareSpoof(text string) ([]seccomp.Rule, error) {
	id, proc, err := decodeSpoof(text)
	if err != nil {
		return nil, err
	}
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
	return spoofRules(id, proc), nil
}
