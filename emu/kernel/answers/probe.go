// Package answers asks the running kernel, call by call, what it answers, and compares that with
// what its release promises.
//
// A child makes each call of an ABI once, with arguments that the kernel refuses before it does
// anything (arguments.go), and writes a line after each. A call that ends the child, through a
// filter that kills or by its nature, has no line: the parent records that and starts a child that
// continues after it. An x86_64 kernel is asked for x32 and i386 too, where it serves them. ENOSYS
// means that the kernel lacks the call. Any other errno means that the call refused these
// arguments. EPERM comes from the filter if the process has one and the kernel has no reason for
// EPERM.
package answers

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	"binproxy/emu/arch"
	"binproxy/emu/kernel"
)

// State is the kernel's treatment of a call.
type State string

// The states of a call.
const (
	Present State = "present" // the answer is one that only the call itself gives
	Limited State = "limited" // it exists, but not for what was asked
	Absent  State = "absent"  // ENOSYS
	Refused State = "refused" // EPERM, EACCES or an end by SIGSYS
	Unasked State = "unasked" // asking would do harm
)

// Result is the answer to one call.
type Result struct {
	Call  kernel.Call
	State State
	Errno syscall.Errno // 0 if it succeeded or was not asked
	Why   string        // what the answer means, where the state does not show it
	By    string        // of a Refused: "filter", or "filter or kernel"
}

// Filters is seccomp's part of /proc/self/status.
type Filters struct {
	Mode string `json:"mode"` // none, strict, filter, or unknown
	// the number of filters, "" where the kernel (before 5.9) does not show it
	Count      string `json:"count"`
	NoNewPrivs bool   `json:"no_new_privs"`
	Default    string `json:"default"` // the answer to a number that no kernel has
	Container  string `json:"container"`
}

// Lacking is an ABI whose calls the kernel does not answer.
type Lacking struct {
	ABI *kernel.ABI
	Why string // the result of getpid: an errno, or how the process ended
}

// Report is what a probe found. Results are ordered by ABI, the host's own first, and number.
type Report struct {
	ABI     *kernel.ABI
	Filters Filters
	Results []Result
	Lacking []Lacking // the ABIs of the host that the kernel does not serve
}

// unknownNr is a number that no kernel has. An answer other than ENOSYS is a filter's default.
const unknownNr = 0x3ff0

// Run probes the running kernel.
func Run() (*Report, error) {
	abi := kernel.Of(arch.Host())
	if abi == nil {
		return nil, fmt.Errorf("probe: the tables do not cover %s", arch.Host().Name)
	}
	r := &Report{ABI: abi, Filters: filters()}
	for _, abi := range callable(arch.Host()) {
		answers, err := ask(abi)
		if err != nil {
			return nil, err
		}
		r.take(abi, answers)
	}
	return r, nil
}

// callable lists the ABIs that one program can call: an x86_64 program needs only another
// instruction, or another bit, for the others.
func callable(host *arch.ABI) []*kernel.ABI {
	family := kernel.Family(host)
	if host.Name != "x86_64" {
		family = family[:1]
	}
	return family
}

func (r *Report) take(abi *kernel.ABI, answers map[uint32]answer) {
	if abi == r.ABI {
		r.Filters.Default = errnoName(answers[unknownNr].errno)
	} else if a := answers[getpid(abi)]; a.killed != "" {
		r.Lacking = append(r.Lacking, Lacking{abi, "the process that asked was ended: " + a.killed})
		return
	} else if a.errno != 0 {
		r.Lacking = append(r.Lacking, Lacking{abi, errnoName(a.errno)})
		return
	}
	for _, c := range abi.Calls() {
		r.Results = append(r.Results, classify(c, answers[c.Nr], r.Filters))
	}
}

// classify interprets an answer.
func classify(c kernel.Call, a answer, f Filters) Result {
	r := Result{Call: c, State: Present, Errno: a.errno}
	switch {
	case a.unasked != "":
		r.State, r.Why = Unasked, a.unasked
	case a.killed != "":
		if slices.Contains(enders, c.Name) && a.killed != syscall.SIGSYS.String() {
			r.Why = "it ended the process that asked, as it should"
			break
		}
		r.State, r.By, r.Why = Refused, "filter", "the process that asked was ended: "+a.killed
	case a.errno == syscall.ENOSYS:
		r.State = Absent
	case (a.errno == syscall.EPERM || a.errno == syscall.EACCES) && f.Mode == "none":
		r.Why = "the kernel wants a privilege, or another state of the process"
	case a.errno == syscall.EPERM || a.errno == syscall.EACCES:
		r.State, r.By = Refused, refusedBy(c.Name)
	case a.errno == syscall.EOPNOTSUPP || a.limit != "":
		r.State, r.Why = Limited, a.limit
	}
	return r
}

// refusedBy attributes the EPERM of a process that has a filter. The kernel itself gives it only
// for calls that need a privilege.
func refusedBy(name string) string {
	if slices.Contains(privileged, name) {
		return "filter or kernel"
	}
	return "filter"
}

func filters() Filters {
	f := Filters{Mode: "unknown", Container: container()}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return f
	}
	for _, line := range strings.Split(string(status), "\n") {
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch key {
		case "Seccomp":
			f.Mode = map[string]string{"0": "none", "1": "strict", "2": "filter"}[value]
		case "Seccomp_filters":
			f.Count = value
		case "NoNewPrivs":
			f.NoNewPrivs = value == "1"
		}
	}
	return f
}

// container names what set the filter, as far as a process inside can see that.
func container() string {
	for _, mark := range []struct{ path, name string }{{"/.dockerenv", "docker"}, {"/run/.containerenv", "podman"}} {
		if _, err := os.Lstat(mark.path); err == nil {
			return mark.name
		}
	}
	if version, err := os.ReadFile("/proc/version"); err == nil && strings.Contains(string(version), "gVisor") {
		return "gVisor"
	}
	return os.Getenv("container")
}

// Disagreement is a call whose answer differs from what the release promises.
type Disagreement struct {
	Result  Result
	Promise kernel.Answer
	Why     string
}

// Compare compares the answers with the release's promises.
func (r *Report) Compare(release kernel.Release) []Disagreement {
	var list []Disagreement
	for _, result := range r.Results {
		promise := release.Has(result.Call)
		if why := disagrees(result, promise); why != "" {
			list = append(list, Disagreement{result, promise, why})
		}
	}
	return list
}

// only32 are the calls of i386 that a 64-bit kernel has never had
// (arch/x86/entry/syscalls/syscall_32.tbl: sys_ni_syscall for compat).
var only32 = [...]string{"vm86", "vm86old"}

func disagrees(r Result, promise kernel.Answer) string {
	switch {
	case r.State == Absent && promise.Has && slices.Contains(only32[:], r.Call.Name):
		return "promised, but absent: a 64-bit kernel does not have it"
	case r.State == Absent && promise.Has:
		return "promised, but absent: left out of this kernel's configuration, or a filter or sandbox answers ENOSYS"
	case (r.State == Present || r.State == Limited) && !promise.Has:
		return "not promised, but there: a backport, or another kernel's number"
	case r.State == Refused && r.By == "filter" && promise.Has:
		return "promised, but refused by a filter"
	}
	return ""
}
