package kernel

import (
	"fmt"
	"io"
	"os"
	"strings"

	"binproxy/applets/applet"
	"binproxy/emu/exit"
	facts "binproxy/emu/kernel"
	"binproxy/emu/kernel/answers"
	"binproxy/emu/kernel/check"
)

// couldNotTell is the exit status of a check without an answer, also for a path that cannot be
// read.
const couldNotTell = 2

// checking are the flags of check.
type checking struct {
	against, libc string
	json, sarif   bool
}

func checkFlags(f applet.Flags) applet.Run {
	var c checking
	f.StringVar(&c.against, "kernel", "host", "`RELEASE` the kernel that it has to fit")
	f.StringVar(&c.libc, "libc", "", "`NAME-VERSION` the libc of the programs, such as glibc-2.31, where the path has none")
	f.BoolVar(&c.json, "json", false, applet.JSONUsage)
	f.BoolVar(&c.sarif, "sarif", false, "print SARIF 2.1.0 instead, for annotations in CI")
	return func(paths []string) error { return c.run(os.Stdout, paths) }
}

func (c checking) run(w io.Writer, paths []string) error {
	switch {
	case len(paths) == 0:
		return exit.Errorf(exit.Failed, "kernel check: a path is missing; see binproxy help kernel")
	case c.json && c.sarif:
		return exit.Errorf(exit.Failed, "kernel check: --json and --sarif exclude each other")
	}
	k, err := kernelToCheck(c.against)
	if err != nil {
		return err
	}
	named, err := check.ParseLibc(c.libc)
	if err != nil {
		return failed(err)
	}
	report, err := check.Run(paths, k, check.Options{Libc: named})
	if err != nil {
		return exit.Errorf(couldNotTell, "kernel check: %w", err)
	}
	switch {
	case c.json:
		err = applet.WriteJSON(w, struct {
			Kernel  string `json:"kernel"`
			Verdict string `json:"verdict"`
			*check.Report
		}{k.Release.Text, verdictText(report.Verdict()), report})
	case c.sarif:
		err = applet.WriteJSON(w, sarif(report, applet.Version()))
	default:
		printReport(w, k, report)
	}
	if err != nil {
		return err
	}
	return exit.Silent(report.Verdict())
}

// kernelToCheck is a release's promise; for "host", a probe of the running kernel takes precedence
// over it.
func kernelToCheck(text string) (check.Kernel, error) {
	r, err := release(text)
	if err != nil {
		return check.Kernel{}, err
	}
	promised := check.Promised(r)
	if text != "host" {
		return promised, nil
	}
	report, err := answers.Run()
	if err != nil {
		return check.Kernel{}, failed(err)
	}
	return check.Kernel{Release: r, Answer: func(c facts.Call) check.Answer {
		if a, ok := probed(report, c); ok {
			return a
		}
		return promised.Answer(c)
	}}, nil
}

// probed is the live answer to a call of one of the host's ABIs.
func probed(report *answers.Report, c facts.Call) (check.Answer, bool) {
	for _, l := range report.Lacking {
		if l.ABI == c.ABI {
			return check.Answer{Source: "live probe: the kernel does not serve " + l.ABI.Name}, true
		}
	}
	for _, r := range report.Results {
		if r.Call == c && r.State != answers.Unasked {
			return check.Answer{Has: r.State != answers.Absent, Refused: r.State == answers.Refused && r.By == "filter", Source: "live probe: " + string(r.State)}, true
		}
	}
	return check.Answer{}, false
}

func verdictText(verdict int) string {
	return [...]string{"compatible", "not compatible", "could not tell"}[verdict]
}

func printReport(w io.Writer, k check.Kernel, report *check.Report) {
	for _, f := range report.Findings {
		fmt.Fprintf(w, "%s: %s: needs %s (since %s; by %s; %s)\n", f.File, f.Kind, f.Need, orUnknown(f.Since), f.Sure, f.Source)
		fmt.Fprintf(w, "    %s\n", f.Do)
	}
	libc := ""
	if report.Libc != "" {
		libc = ", " + report.Libc
	}
	fmt.Fprintf(w, "%s: %d ELF files%s, %d findings against %s\n", verdictText(report.Verdict()), report.Files, libc, len(report.Findings), k.Release.Text)
}

func orUnknown(since string) string {
	if since == "" {
		return "unknown"
	}
	return since
}

// SARIF 2.1.0, as far as CI services read it.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool    sarifTool     `json:"tool"`
		Results []sarifResult `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name    string      `json:"name"`
		Version string      `json:"version"`
		Rules   []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID   string    `json:"id"`
		Text sarifText `json:"shortDescription"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifResult struct {
		RuleID    string          `json:"ruleId"`
		Level     string          `json:"level"`
		Message   sarifText       `json:"message"`
		Locations []sarifLocation `json:"locations"`
	}
	sarifLocation struct {
		Physical struct {
			Artifact struct {
				URI string `json:"uri"`
			} `json:"artifactLocation"`
		} `json:"physicalLocation"`
	}
)

// rules are the kinds of evidence.
var rules = [...]struct {
	sure check.Sure
	text string
}{
	{check.Note, "the file itself asks for a newer kernel"},
	{check.Known, "a case that is known to fail"},
	{check.Import, "an imported libc function makes a system call that the kernel lacks"},
	{check.Code, "the code makes a system call that the kernel lacks"},
}

func sarif(report *check.Report, version string) sarifLog {
	run := sarifRun{Tool: sarifTool{sarifDriver{Name: "binproxy kernel check", Version: version}}, Results: []sarifResult{}}
	for _, r := range rules {
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRule{"kernel-" + string(r.sure), sarifText{r.text}})
	}
	for _, f := range report.Findings {
		level := map[check.Kind]string{check.Hard: "error", check.Poisoned: "error", check.Unknown: "warning", check.Soft: "note"}[f.Kind]
		var at sarifLocation
		at.Physical.Artifact.URI = strings.TrimPrefix(f.File, "/")
		run.Results = append(run.Results, sarifResult{"kernel-" + string(f.Sure), level,
			sarifText{fmt.Sprintf("%s: needs %s, since %s (%s). %s.", f.Kind, f.Need, orUnknown(f.Since), f.Source, f.Do)}, []sarifLocation{at}})
	}
	return sarifLog{"https://json.schemastore.org/sarif-2.1.0.json", "2.1.0", []sarifRun{run}}
}
