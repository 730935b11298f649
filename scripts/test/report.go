package main

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"iter"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"binproxy/test/lib/need"
)

// heartbeat is how often a long run reports what it is doing.
const heartbeat = 30 * time.Second

// progress begins the lines that package test/lib/lab writes during slow work.
const progress = "lab: "

// A report turns test events into lines for a reader, and counts. Subtests count one by one; a
// test with subtests counts itself only if it failed although none of them failed.
type report struct {
	mu      sync.Mutex
	w       io.Writer
	slow    bool // show each test as it ends
	tests   map[key]*test
	skips   map[string]int // by reason
	fails   []string
	started time.Time

	passed, failed, skipped int
	long                    map[string]int // what was left to the long run, by package
	took                    []duration     // of top-level tests
}

// duration is how long a test took, its subtests included.
type duration struct {
	name string
	time float64 // seconds
}

type key struct{ pkg, test string }

// test is what is known of one test, or, for the name "", of one package.
type test struct {
	output           strings.Builder
	started          time.Time
	children, broken int // subtests that began, and that failed

	passed, failed, skipped int // of a package
}

// slowest is how many of the slowest tests the end of a run names.
const slowest = 10

func newReport(w io.Writer) *report {
	return &report{w: w, tests: map[key]*test{}, skips: map[string]int{}, long: map[string]int{}, started: time.Now()}
}

// made reports how long something other than a test took.
func (r *report) made(what string, took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(r.w, "made  %s (%.0f s)\n", what, took.Seconds())
}

// say writes a line about something other than a test.
func (r *report) say(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintln(r.w, line)
}

func (r *report) title(what string) {
	fmt.Fprintf(r.w, "== %s\n", what)
	r.slow = what != "packages"
}

// read reports the events of one run of go test.
func (r *report) read(stream io.Reader) {
	stop := r.beat()
	defer stop()
	events(stream, func(e event) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.event(e)
	})
}

func (r *report) event(e event) {
	pkg := cmp.Or(e.Package, e.ImportPath)
	t := r.test(pkg, e.Test)
	switch e.Action {
	case "run", "start":
		t.started = time.Now()
		if parent := r.parent(pkg, e.Test); parent != nil {
			parent.children++
		}
	case "output", "build-output":
		t.output.WriteString(e.Output)
		// Progress matters now, and not when something has failed.
		if pkg == "" || strings.HasPrefix(e.Output, progress) {
			fmt.Fprint(r.w, e.Output)
		}
	case "pass", "fail", "skip":
		if e.Test == "" {
			r.packageEnded(pkg, t, e)
		} else {
			r.testEnded(pkg, t, e)
		}
		delete(r.tests, key{pkg, e.Test})
	}
}

func (r *report) test(pkg, name string) *test {
	k := key{pkg, name}
	if r.tests[k] == nil {
		r.tests[k] = &test{}
	}
	return r.tests[k]
}

// parent is the test that a subtest belongs to, nil for another test. A subtest's own name may
// have slashes.
func (r *report) parent(pkg, name string) *test {
	for {
		i := strings.LastIndexByte(name, '/')
		if i < 0 {
			return nil
		}
		name = name[:i]
		if t := r.tests[key{pkg, name}]; t != nil {
			return t
		}
	}
}

func (r *report) testEnded(pkg string, t *test, e event) {
	whole := r.test(pkg, "")
	if !strings.Contains(e.Test, "/") {
		r.took = append(r.took, duration{short(pkg) + " " + e.Test, e.Elapsed})
	}
	if parent := r.parent(pkg, e.Test); parent != nil && e.Action == "fail" {
		parent.broken++
	}
	switch {
	case e.Action == "fail":
		if t.broken == 0 {
			r.failed++
			whole.failed++
			r.fails = append(r.fails, short(pkg)+" "+e.Test)
		}
		fmt.Fprintf(r.w, "FAIL  %s %s\n%s", short(pkg), e.Test, indent(t.output.String()))
	case t.children > 0:
	case e.Action == "skip":
		r.skip(pkg, whole, reason(t.output.String()))
	default:
		r.passed++
		whole.passed++
	}
	if r.slow && e.Action != "fail" && (t.children == 0 || !strings.Contains(e.Test, "/")) {
		fmt.Fprintf(r.w, "%-4s  %s %s (%.1f s)\n", e.Action, short(pkg), e.Test, e.Elapsed)
	}
}

// skip counts a skipped test. It counts separately what is left to the long run.
func (r *report) skip(pkg string, whole *test, why string) {
	r.skipped++
	whole.skipped++
	if why == need.LongReason {
		r.long[short(pkg)]++
		return
	}
	r.skips[why]++
}

func (r *report) packageEnded(pkg string, t *test, e event) {
	if e.Action == "fail" {
		r.neverEnded(pkg, t)
	}
	if e.Action == "fail" && t.failed == 0 {
		r.failed++
		t.failed++
		r.fails = append(r.fails, short(pkg))
		output := t.output.String()
		if e.FailedBuild != "" {
			output = r.test(e.FailedBuild, "").output.String() + output
		}
		fmt.Fprintf(r.w, "FAIL  %s\n%s", short(pkg), indent(output))
	}
	if t.passed+t.failed+t.skipped == 0 {
		return
	}
	verdict := "ok"
	if t.failed > 0 {
		verdict = "FAIL"
	}
	fmt.Fprintf(r.w, "%-4s  %-24s %s (%.1f s)\n", verdict, short(pkg), counts(t.passed, t.failed, t.skipped), e.Elapsed)
}

// neverEnded fails the tests that were still running when their package's program ended: by a
// panic, a timeout or a kill.
func (r *report) neverEnded(pkg string, whole *test) {
	running := slices.DeleteFunc(r.running(), func(k key) bool { return k.pkg != pkg })
	for i, k := range running {
		t := r.tests[k]
		delete(r.tests, k)
		if i+1 < len(running) && strings.HasPrefix(running[i+1].test, k.test+"/") {
			continue // its subtest did not end
		}
		r.failed++
		whole.failed++
		r.fails = append(r.fails, short(pkg)+" "+k.test+" (did not end)")
		fmt.Fprintf(r.w, "FAIL  %s %s did not end\n%s", short(pkg), k.test, indent(t.output.String()))
	}
}

// fail counts a failure that is not a test's.
func (r *report) fail(message string) {
	r.failed++
	r.fails = append(r.fails, message)
	fmt.Fprintln(r.w, "FAIL ", message)
}

// close prints the summary, and returns how many failed.
func (r *report) close() int {
	if len(r.fails) > 0 {
		fmt.Fprintln(r.w, "== failed")
		for _, name := range r.fails {
			fmt.Fprintln(r.w, " ", name)
		}
	}
	r.printSlowest()
	if len(r.skips) > 0 {
		fmt.Fprintln(r.w, "== skipped, by reason")
		reasons := slices.SortedFunc(maps.Keys(r.skips), func(a, b string) int {
			return cmp.Or(r.skips[b]-r.skips[a], strings.Compare(a, b))
		})
		for _, why := range reasons {
			fmt.Fprintf(r.w, "%4d  %s\n", r.skips[why], why)
		}
	}
	r.printLong()
	fmt.Fprintf(r.w, "== %s\n", time.Since(r.started).Round(time.Second))
	fmt.Fprintln(r.w, counts(r.passed, r.failed, r.skipped))
	return r.failed
}

func (r *report) printSlowest() {
	slices.SortFunc(r.took, func(a, b duration) int { return cmp.Compare(b.time, a.time) })
	fmt.Fprintln(r.w, "== slowest")
	for _, d := range r.took[:min(slowest, len(r.took))] {
		fmt.Fprintf(r.w, "%6.1f s  %s\n", d.time, d.name)
	}
}

// printLong prints what a short run has left out.
func (r *report) printLong() {
	if len(r.long) == 0 {
		return
	}
	var parts []string
	total := 0
	for _, pkg := range slices.Sorted(maps.Keys(r.long)) {
		parts = append(parts, fmt.Sprintf("%d of %s", r.long[pkg], pkg))
		total += r.long[pkg]
	}
	fmt.Fprintf(r.w, "== make test-all runs %d more: %s\n", total, strings.Join(parts, ", "))
}

// beat prints now and then what is running, so that a long silence does not look like a hang.
func (r *report) beat() (stop func()) {
	ticker, done := time.NewTicker(heartbeat), make(chan struct{})
	go func() {
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
			}
			r.mu.Lock()
			for _, k := range r.running() {
				if running := time.Since(r.tests[k].started); running >= heartbeat && r.tests[k].children == 0 {
					fmt.Fprintf(r.w, "...   %s %s (%.0f s)\n", short(k.pkg), k.test, running.Seconds())
				}
			}
			r.mu.Unlock()
		}
	}()
	return func() { ticker.Stop(); close(done) }
}

// running lists the tests that have begun but not ended.
func (r *report) running() []key {
	var keys []key
	for k, t := range r.tests {
		if k.test != "" && !t.started.IsZero() {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b key) int { return cmp.Or(strings.Compare(a.pkg, b.pkg), strings.Compare(a.test, b.test)) })
	return keys
}

// reason is the reason of a skipped test: the line that starts with "needs ", else the last one.
func reason(output string) string {
	// The lines of t.Log and t.Skip.
	logged := regexp.MustCompile(`(?m)^ *\S+\.go:\d+: (.*)$`)
	found := "no reason given"
	for _, m := range logged.FindAllStringSubmatch(output, -1) {
		found = m[1]
		if strings.HasPrefix(found, "needs ") {
			break
		}
	}
	return found
}

func counts(passed, failed, skipped int) string {
	return fmt.Sprintf("%d passed, %d failed, %d skipped", passed, failed, skipped)
}

func short(pkg string) string { return strings.TrimPrefix(pkg, "binproxy/") }

func indent(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString("      " + line)
	}
	if text != "" && !strings.HasSuffix(text, "\n") {
		b.WriteByte('\n')
	}
	return b.String()
}

// lines yields the lines of r, however long, without their ends.
func lines(r io.Reader) iter.Seq[string] {
	return func(yield func(string) bool) {
		br := bufio.NewReader(r)
		for {
			line, err := br.ReadString('\n')
			if line != "" && !yield(strings.TrimSuffix(line, "\n")) || err != nil {
				return
			}
		}
	}
}
