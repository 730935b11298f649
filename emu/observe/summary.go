package observe

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// The summary lists this many commands, and distinguishes this many; all further ones count as
// one.
const (
	shown    = 10
	distinct = 4096
)

// others stands for all commands that are not distinguished.
var others = command{name: "(others)", kind: native}

const native, twin = "native", "twin"

// command is the subject of a row: a program's name, and its ABI, or native or twin.
type command struct{ name, kind string }

type cost struct {
	command
	execs, forks int
	cpu, wall    time.Duration
}

type summary struct {
	costs map[command]*cost
	twins twinCosts
}

func newSummary() *summary {
	return &summary{costs: map[command]*cost{}, twins: twinCosts{could: map[command]*could{}}}
}

// add adds the link's cost. A fork without an exec costs its program CPU time; its wall time is
// usually its parent's.
func (s *summary) add(k *link, e ending) {
	if k.program == nil {
		return
	}
	c := s.of(command{k.program.name(), k.program.kind()})
	if e.cpu != Unknown {
		c.cpu += e.cpu
	}
	s.twins.add(k, e)
	switch {
	case !k.forked:
		c.execs++
		c.wall += e.at - k.begin
	case !e.exec:
		c.forks++
	}
}

func (s *summary) of(key command) *cost {
	if s.costs[key] == nil && len(s.costs) >= distinct {
		key = others
	}
	if s.costs[key] == nil {
		s.costs[key] = &cost{command: key}
	}
	return s.costs[key]
}

func (s *summary) print(w io.Writer, elapsed time.Duration) error {
	var all, emulated, twins cost
	for _, c := range s.costs {
		all.add(c)
		switch c.kind {
		case native:
		case twin:
			twins.add(c)
		default:
			emulated.add(c)
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "binproxy: %d programs in %s of wall time and %s of CPU time: %d emulated with %s of the CPU time, ",
		all.execs, seconds(elapsed), seconds(all.cpu), emulated.execs, share(emulated.cpu, all.cpu))
	if twins.execs > 0 {
		fmt.Fprintf(&b, "%d as twins with %s, ", twins.execs, share(twins.cpu, all.cpu))
	}
	fmt.Fprintf(&b, "%d native with %s; forks without exec: %d\n", all.execs-emulated.execs-twins.execs,
		share(all.cpu-emulated.cpu-twins.cpu, all.cpu), all.forks)
	s.table(&b, "by CPU time", func(c *cost) time.Duration { return c.cpu })
	s.table(&b, "by wall time", func(c *cost) time.Duration { return c.wall })
	s.twins.print(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

func (c *cost) add(more *cost) {
	c.execs += more.execs
	c.forks += more.forks
	c.cpu += more.cpu
	c.wall += more.wall
}

func (s *summary) table(w io.Writer, title string, by func(*cost) time.Duration) {
	rows := slices.SortedFunc(maps.Values(s.costs), func(a, b *cost) int {
		return cmp.Or(cmp.Compare(by(b), by(a)), strings.Compare(a.name, b.name), strings.Compare(a.kind, b.kind))
	})
	fmt.Fprintf(w, "%s:\n%10s %10s %8s  %s\n", title, "CPU", "wall", "count", "command")
	for _, c := range rows[:min(shown, len(rows))] {
		fmt.Fprintf(w, "%10s %10s %8d  %s (%s)\n", seconds(c.cpu), seconds(c.wall), c.execs, c.name, c.kind)
	}
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f s", d.Seconds()) }

func share(part, whole time.Duration) string {
	if whole <= 0 {
		return "0 %"
	}
	return fmt.Sprintf("%.0f %%", 100*part.Seconds()/whole.Seconds())
}
