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

// twinCosts are the costs of programs that ran as twins, and of those that could have. What was or
// would be saved is estimated by the rule's factor.
type twinCosts struct {
	execs        int
	spent, saved time.Duration
	could        map[command]*could // by name and reason
}

// could is a program that ran emulated, though a rule allows it a twin.
type could struct {
	name, why    string
	execs        int
	spent, saves time.Duration
}

func (t *twinCosts) add(k *link, e ending) {
	p := k.program
	used := max(e.cpu, 0)
	switch {
	case p.Twin != "":
		t.spent += used
		t.saved += used * time.Duration(max(p.Speed-1, 0))
		if !k.forked {
			t.execs++
		}
	case p.Why != "":
		key := command{p.name(), p.Why}
		if t.could[key] == nil && len(t.could) >= distinct {
			return
		}
		c := t.could[key]
		if c == nil {
			c = &could{name: p.name(), why: p.Why}
			t.could[key] = c
		}
		c.spent += used
		c.saves += used - used/time.Duration(max(p.Speed, 1))
		if !k.forked {
			c.execs++
		}
	}
}

// print prints nothing if no rule applied to any program that ran.
func (t *twinCosts) print(w io.Writer) {
	if t.execs > 0 {
		fmt.Fprintf(w, "twins: %d programs ran as twins, in %s of CPU time; emulated it would have been about %s\n", t.execs, seconds(t.spent), seconds(t.spent+t.saved))
	}
	if len(t.could) == 0 {
		return
	}
	var all could
	for _, c := range t.could {
		all.execs, all.spent, all.saves = all.execs+c.execs, all.spent+c.spent, all.saves+c.saves
	}
	fmt.Fprintf(w, "twins: %d programs could have run as twins, which would save about %s of CPU time:\n%10s %10s %8s  %s\n",
		all.execs, seconds(all.saves), "CPU", "saves", "count", "command: why not")
	rows := slices.SortedFunc(maps.Values(t.could), func(a, b *could) int {
		return cmp.Or(cmp.Compare(b.saves, a.saves), strings.Compare(a.name, b.name), strings.Compare(a.why, b.why))
	})
	for _, c := range rows[:min(shown, len(rows))] {
		fmt.Fprintf(w, "%10s %10s %8d  %s: %s\n", seconds(c.spent), seconds(c.saves), c.execs, c.name, c.why)
	}
}
