package kernel

import (
	"fmt"
	"io"
	"strings"

	"golang.org/x/sys/unix"

	"binproxy/applets/applet"
	"binproxy/emu/exit"
	"binproxy/emu/kernel/probe"
)

// probeChild is the private sub-command of the process that makes the calls.
const probeChild = "probe-child"

// probeJSON is `kernel probe --json`.
type probeJSON struct {
	Release  string         `json:"release"`
	Promise  string         `json:"promise"`
	ABI      string         `json:"abi"`
	Served   []string       `json:"served"`
	Seccomp  probe.Filters  `json:"seccomp"`
	Calls    []answerJSON   `json:"calls"`
	Disagree []disagreeJSON `json:"disagreements"`
}

type answerJSON struct {
	Nr    uint32 `json:"nr"`
	Name  string `json:"name"`
	State string `json:"state"`
	Errno string `json:"errno,omitempty"`
	By    string `json:"by,omitempty"`
	Why   string `json:"why,omitempty"`
}

type disagreeJSON struct {
	Nr     uint32 `json:"nr"`
	Name   string `json:"name"`
	Why    string `json:"why"`
	Source string `json:"source"`
}

func probeKernel(w io.Writer, args []string) error {
	flags := applet.NewFlags("kernel probe")
	asJSON := flags.Bool("json", false, "")
	operands, err := flags.Parse(args)
	if err == nil && len(operands) > 0 {
		err = exit.Errorf(exit.Failed, "kernel probe: %s: unexpected; see binproxy help kernel", operands[0])
	}
	if err != nil {
		return err
	}
	report, err := probe.Run("kernel", probeChild)
	if err != nil {
		return failed(err)
	}
	u, err := uname()
	if err != nil {
		return failed(err)
	}
	r, err := release("host")
	if err != nil {
		return err
	}
	doc := probeDocument(report, unix.ByteSliceToString(u.Release[:]), r.Describe(report.ABI), report.Compare(r))
	if *asJSON {
		return writeJSON(w, doc)
	}
	printProbe(w, doc)
	return nil
}

func probeDocument(report *probe.Report, name, promise string, differ []probe.Disagreement) probeJSON {
	doc := probeJSON{Release: name, Promise: promise, ABI: report.ABI.Name, Seccomp: report.Filters, Served: report.Served, Disagree: []disagreeJSON{}}
	for _, r := range report.Results {
		a := answerJSON{Nr: r.Call.Nr, Name: r.Call.Name, State: string(r.State), By: r.By, Why: r.Why}
		if r.Errno != 0 {
			a.Errno = unix.ErrnoName(r.Errno)
		}
		doc.Calls = append(doc.Calls, a)
	}
	for _, d := range differ {
		source := d.Promise.Source
		if d.Promise.Profile != "" {
			source = d.Promise.Profile + ": " + source
		}
		doc.Disagree = append(doc.Disagree, disagreeJSON{d.Result.Call.Nr, d.Result.Call.Name, d.Why, source})
	}
	return doc
}

func printProbe(w io.Writer, doc probeJSON) {
	fmt.Fprintf(w, "release: %s (promises %s)\n", doc.Release, doc.Promise)
	fmt.Fprintf(w, "ABIs: %s\n", strings.Join(append([]string{doc.ABI}, doc.Served...), " "))
	fmt.Fprintf(w, "seccomp: %s\n", seccompText(doc.Seccomp))
	counts := map[string]int{}
	for _, a := range doc.Calls {
		counts[a.State]++
	}
	t := columns(w)
	for _, a := range doc.Calls {
		if a.State == string(probe.Present) && a.Why == "" {
			continue
		}
		row(t, a.Nr, a.Name, a.State, a.Errno, strings.TrimSpace(a.By+" "+a.Why))
	}
	t.Flush()
	fmt.Fprintf(w, "%d calls: %d present, %d limited, %d absent, %d refused, %d not asked\n", len(doc.Calls), counts["present"], counts["limited"], counts["absent"], counts["refused"], counts["unasked"])
	for _, d := range doc.Disagree {
		fmt.Fprintf(w, "%s (%d): %s [%s]\n", d.Name, d.Nr, d.Why, d.Source)
	}
	if len(doc.Disagree) == 0 {
		fmt.Fprintln(w, "no call differs from what the release promises")
	}
}

func seccompText(f probe.Filters) string {
	s := f.Mode
	if f.Count != "" && f.Count != "0" {
		s += ", " + f.Count + " filters"
	}
	if f.Default != "ENOSYS" {
		s += ", " + f.Default + " for a number that no kernel has"
	}
	if f.Container != "" {
		s += ", in " + f.Container
	}
	return s
}
