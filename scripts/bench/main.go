// Command bench is `make bench`. It measures ratios, each of two programs that run in turn (A B A
// B ...) in the same minute on the same machine, and prints the ratio of their medians beside the
// budget. It asserts nothing, since a busy machine is no failure.
//
// With -against it compares binproxy with an earlier one instead: each row's measured command with
// this source's program, against the same command with the other.
//
// To add a row, add it to the table of rows.go.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"slices"
	"syscall"
	"time"
)

// A row compares two commands. prepare makes them in dir; why says what is missing if it cannot.
type row struct {
	name    string
	budget  float64 // of the ratio; 0 for a figure that has none
	rounds  int
	prepare func(ctx context.Context, dir string) (measured, reference command, why error)
}

// A command is started once for each measurement, after its preparation, which is not measured. It
// must exit with status 0.
type command struct {
	path   string
	args   []string // argv[1:]
	env    []string
	dir    string
	before func(context.Context) error
	note   func(stderr string) string // the text to print of the last run; nil for none
}

func main() {
	only := flag.String("run", "", "only the rows whose names match this regular expression")
	other := flag.String("against", "", "compare with this `program`, a binproxy, or with that of this git revision")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := bench(ctx, *only, *other); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// ends undo what was set up, when all is measured.
var ends []func() error

func atEnd(f func() error) { ends = append(ends, f) }

func cleanUp() {
	for _, f := range ends {
		if err := f(); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
	}
}

func bench(ctx context.Context, only, other string) error {
	wanted, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "binproxy-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	defer cleanUp()
	rows := rows
	if other != "" {
		program, err := earlier(ctx, dir, other)
		if err != nil {
			return err
		}
		rows = against(program)
	}
	fmt.Printf("%-62s %6s %6s %6s  %-12s  %s\n", "what, against what", "budget", "wall", "CPU", "wall, half", "medians of wall and CPU")
	for i, r := range rows {
		if !wanted.MatchString(r.name) {
			continue
		}
		own := fmt.Sprintf("%s/%d", dir, i)
		if err := os.Mkdir(own, 0o755); err != nil {
			return err
		}
		measured, reference, why := r.prepare(ctx, own)
		if why != nil {
			fmt.Printf("%-62s not measured: %v\n", r.name, why)
			continue
		}
		if err := measure(ctx, r, measured, reference); err != nil {
			// a rival's failure is a result, too
			fmt.Printf("%-62s failed: %v\n", r.name, err)
		}
	}
	const memory = "the supervisor's peak memory"
	if other == "" && wanted.MatchString(memory) {
		said, err := supervisorMemory(ctx, dir)
		if err != nil {
			said = "not measured: " + err.Error()
		}
		fmt.Printf("%-62s %s\n", memory, said)
	}
	return ctx.Err()
}

// cost is what one run took, in seconds: of the clock, and of the processor, in its own code and
// in the kernel.
type cost struct{ wall, cpu float64 }

func wall(c cost) float64 { return c.wall }
func cpu(c cost) float64  { return c.cpu }

// minutes is the number of rounds of a row whose runs take minutes: there is no cache that a first
// round has to fill.
const minutes = 3

func measure(ctx context.Context, r row, measured, reference command) error {
	var a, b []cost
	var ratios []float64
	var note string
	warmUp := 0
	if r.rounds > minutes {
		warmUp = 1
	}
	for n := range r.rounds + warmUp {
		ca, said, err := measured.run(ctx)
		if err != nil {
			return err
		}
		cb, _, err := reference.run(ctx)
		if err != nil {
			return err
		}
		if measured.note != nil {
			note = measured.note(said)
		}
		if n >= warmUp {
			a, b, ratios = append(a, ca), append(b, cb), append(ratios, ca.wall/cb.wall)
		}
	}
	budget := ""
	if r.budget > 0 {
		budget = fmt.Sprintf("%.2f", r.budget)
	}
	fmt.Printf("%-62s %6s %6.2f %6.2f  %.2f to %.2f  %s/%s, %s/%s\n", r.name, budget,
		median(a, wall)/median(b, wall), median(a, cpu)/median(b, cpu), quantile(ratios, 0.25), quantile(ratios, 0.75),
		shown(median(a, wall)), shown(median(a, cpu)), shown(median(b, wall)), shown(median(b, cpu)))
	if note != "" {
		fmt.Printf("    the last run: %s\n", note)
	}
	return nil
}

func (c command) run(ctx context.Context) (cost, string, error) {
	cmd := exec.CommandContext(ctx, c.path, c.args...)
	var said bytes.Buffer
	cmd.Env, cmd.Dir, cmd.Stderr = c.env, c.dir, &said
	if c.before != nil {
		if err := c.before(ctx); err != nil {
			return cost{}, "", err
		}
	}
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return cost{}, "", fmt.Errorf("%s: %w\n%s", cmd, err, said.Bytes()[max(0, said.Len()-1000):])
	}
	took := time.Since(start)
	return cost{took.Seconds(), (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()}, said.String(), nil
}

func median(costs []cost, of func(cost) float64) float64 {
	values := make([]float64, len(costs))
	for i, c := range costs {
		values[i] = of(c)
	}
	return quantile(values, 0.5)
}

// quantile is the value below which the share q of the values is.
func quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[int(q*float64(len(sorted)-1)+0.5)]
}

func shown(seconds float64) string {
	return time.Duration(seconds * float64(time.Second)).Round(10 * time.Microsecond).String()
}
