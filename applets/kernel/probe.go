package kernel

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"binproxy/applets/applet"
	"binproxy/emu/exit"
	"binproxy/emu/kernel/answers"
)

// probeJSON is `kernel probe --json`.
type probeJSON struct {
	Release  string          `json:"release"`
	Promise  string          `json:"promise"`
	ABI      string          `json:"abi"`
	Lacking  []lackingJSON   `json:"lacking"`
	Seccomp  answers.Filters `json:"seccomp"`
	Calls    []answerJSON    `json:"calls"`
	Disagree []disagreeJSON  `json:"disagreements"`
}

// lackingJSON is an ABI that the kernel does not serve.
type lackingJSON struct {
	ABI string `json:"abi"`
	Why string `json:"why"`
}

type answerJSON struct {
	ABI   string `json:"abi"`
	Nr    uint32 `json:"nr"`
	Name  string `json:"name"`
	State string `json:"state"`
	Errno string `json:"errno,omitempty"`
	By    string `json:"by,omitempty"`
	Why   string `json:"why,omitempty"`
}

type disagreeJSON struct {
	ABI    string `json:"abi"`
	Nr     uint32 `json:"nr"`
	Name   string `json:"name"`
	Why    string `json:"why"`
	Source string `json:"source"`
}

func probeFlags(f applet.Flags) applet.Run {
	asJSON := f.Bool("json", false, applet.JSONUsage)
	return func(operands []string) error { return probeKernel(os.Stdout, operands, *asJSON) }
}

func probeKernel(w io.Writer, operands []string, asJSON bool) error {
	if len(operands) > 0 {
		return exit.Errorf(exit.Failed, "kernel probe: %s: unexpected; see binproxy help kernel", operands[0])
	}
	report, err := answers.Run()
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
	if asJSON {
		return applet.WriteJSON(w, doc)
	}
	printProbe(w, doc)
	return nil
}

func probeDocument(report *answers.Report, name, promise string, differ []answers.Disagreement) probeJSON {
	doc := probeJSON{Release: name, Promise: promise, ABI: report.ABI.Name, Seccomp: report.Filters, Lacking: []lackingJSON{}, Disagree: []disagreeJSON{}}
	for _, l := range report.Lacking {
		doc.Lacking = append(doc.Lacking, lackingJSON{l.ABI.Name, l.Why})
	}
	for _, r := range report.Results {
		a := answerJSON{ABI: r.Call.ABI.Name, Nr: r.Call.Nr, Name: r.Call.Name, State: string(r.State), By: r.By, Why: r.Why}
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
		doc.Disagree = append(doc.Disagree, disagreeJSON{d.Result.Call.ABI.Name, d.Result.Call.Nr, d.Result.Call.Name, d.Why, source})
	}
	return doc
}

func printProbe(w io.Writer, doc probeJSON) {
	fmt.Fprintf(w, "release: %s (promises %s)\n", doc.Release, doc.Promise)
	fmt.Fprintf(w, "seccomp: %s\n", seccompText(doc.Seccomp))
	t := columns(w)
	for _, a := range doc.Calls {
		if a.State == string(answers.Present) && a.Why == "" {
			continue
		}
		row(t, a.ABI, a.Nr, a.Name, a.State, a.Errno, strings.TrimSpace(a.By+" "+a.Why))
	}
	t.Flush()
	printCounts(w, doc.Calls)
	for _, l := range doc.Lacking {
		fmt.Fprintf(w, "%s: the kernel does not serve it (%s)\n", l.ABI, l.Why)
	}
	for _, d := range doc.Disagree {
		fmt.Fprintf(w, "%s %s (%d): %s [%s]\n", d.ABI, d.Name, d.Nr, d.Why, d.Source)
	}
	if len(doc.Disagree) == 0 {
		fmt.Fprintln(w, "no call differs from what the release promises")
	}
}

// printCounts prints a line for each ABI.
func printCounts(w io.Writer, calls []answerJSON) {
	for first := 0; first < len(calls); {
		counts := map[string]int{}
		next := first
		for ; next < len(calls) && calls[next].ABI == calls[first].ABI; next++ {
			counts[calls[next].State]++
		}
		fmt.Fprintf(w, "%s: %d calls: %d present, %d limited, %d absent, %d refused, %d not asked\n", calls[first].ABI, next-first,
			counts["present"], counts["limited"], counts["absent"], counts["refused"], counts["unasked"])
		first = next
	}
}

func seccompText(f answers.Filters) string {
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
