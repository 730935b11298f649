package kernel

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"

	"binproxy/applets/applet"
	"binproxy/emu/exit"
	facts "binproxy/emu/kernel"
)

// callJSON is a call in --json.
type callJSON struct {
	ABI    string    `json:"abi"`
	Nr     uint32    `json:"nr"`
	Name   string    `json:"name"`
	Since  string    `json:"since"`
	Until  string    `json:"until,omitempty"`
	Source string    `json:"source"`
	Gate   *gateJSON `json:"gate,omitempty"`
}

type gateJSON struct {
	Wired string `json:"wired"`
	Why   string `json:"why"`
}

// lookingUp are the flags of table.
type lookingUp struct {
	abi, call, since, until string
	diff, json              bool
}

func tableFlags(f applet.Flags) applet.Run {
	var l lookingUp
	l.declare(f)
	return func(operands []string) error { return l.table(os.Stdout, operands) }
}

func (l *lookingUp) declare(f applet.Flags) {
	f.StringVar(&l.abi, "abi", "", "`ABI` the calls of this ABI (default: the host's; with --syscall, every one)")
	f.StringVar(&l.call, "syscall", "", "`NAME` this call only; also by its number")
	f.StringVar(&l.since, "since", "", "`RELEASE` what came with this release or later")
	f.StringVar(&l.until, "until", "", "`RELEASE` what this release has")
	f.BoolVar(&l.diff, "diff", false, "print what came and went between two releases")
	f.BoolVar(&l.json, "json", false, "print JSON instead")
}

func (l lookingUp) table(w io.Writer, operands []string) error {
	if l.diff {
		return tableDiff(w, l.abi, operands, l.json)
	}
	if len(operands) > 0 {
		return exit.Errorf(exit.Failed, "kernel table: %s: unexpected; see binproxy help kernel", operands[0])
	}
	calls, err := selectCalls(l.abi, l.call, l.since, l.until)
	if err != nil {
		return err
	}
	if l.json {
		return applet.WriteJSON(w, jsonCalls(calls))
	}
	printCalls(w, calls, l.call != "")
	return nil
}

// selectCalls gives the calls that the flags select. A call without an ABI is looked up in every
// ABI.
func selectCalls(abi, call, since, until string) ([]facts.Call, error) {
	keep, err := interval(since, until)
	if err != nil {
		return nil, err
	}
	var calls []facts.Call
	if call != "" && abi == "" {
		for i := range facts.ABIs() {
			calls = append(calls, lookup(&facts.ABIs()[i], call)...)
		}
	} else {
		a, err := findABI(abi)
		if err != nil {
			return nil, err
		}
		calls = a.Calls()
		if call != "" {
			calls = lookup(a, call)
		}
	}
	if call != "" && len(calls) == 0 {
		return nil, exit.Errorf(exit.Failed, "--syscall %s: no table has such a call", call)
	}
	return slices.DeleteFunc(calls, func(c facts.Call) bool { return !keep(c) }), nil
}

// lookup takes a name or a number.
func lookup(a *facts.ABI, call string) []facts.Call {
	if nr, err := strconv.ParseUint(call, 10, 32); err == nil {
		return a.ByNumber(uint32(nr))
	}
	return a.ByName(call)
}

// interval selects the calls between two releases: until selects those that the release has, since
// those that came with it or later (for a vendor's release: those that its mainline base lacks).
func interval(since, until string) (func(facts.Call) bool, error) {
	var from, to facts.Release
	var err error
	if since != "" {
		if from, err = release(since); err != nil {
			return nil, err
		}
	}
	if until != "" {
		if to, err = release(until); err != nil {
			return nil, err
		}
	}
	return func(c facts.Call) bool {
		if until != "" && !to.Has(c).Has {
			return false
		}
		return since == "" || !c.Never() && cameWith(c, from)
	}, nil
}

func cameWith(c facts.Call, r facts.Release) bool {
	if name, _ := r.Profile(c.ABI); name != "" {
		return c.First() > r.Base
	}
	return c.First() >= r.Base
}

func printCalls(w io.Writer, calls []facts.Call, gates bool) {
	t := columns(w)
	row(t, "ABI", "NR", "NAME", "SINCE", "UNTIL", "SOURCE")
	for _, c := range calls {
		row(t, c.ABI.Name, c.Nr, c.Name, c.Since(), untilText(c), c.Source())
	}
	t.Flush()
	for _, c := range calls {
		if wired, why, ok := c.Gate(); ok && gates {
			fmt.Fprintf(w, "%s %s: the number is wired since %s, but: %s\n", c.ABI.Name, c.Name, wired, why)
		}
	}
}

func untilText(c facts.Call) string {
	if last, ok := c.Last(); ok {
		return last.String()
	}
	return "-"
}

func jsonCalls(calls []facts.Call) []callJSON {
	list := []callJSON{}
	for _, c := range calls {
		j := callJSON{ABI: c.ABI.Name, Nr: c.Nr, Name: c.Name, Since: c.Since(), Source: c.Source()}
		if last, ok := c.Last(); ok {
			j.Until = last.String()
		}
		if wired, why, ok := c.Gate(); ok {
			j.Gate = &gateJSON{wired.String(), why}
		}
		list = append(list, j)
	}
	return list
}

// change is a call that one of two releases has.
type change struct {
	Nr     uint32 `json:"nr"`
	Name   string `json:"name"`
	Since  string `json:"since"`
	Left   bool   `json:"left"`
	Right  bool   `json:"right"`
	Source string `json:"source"`

	cells [2]string
}

func tableDiff(w io.Writer, abi string, operands []string, asJSON bool) error {
	if len(operands) != 2 {
		return exit.Errorf(exit.Failed, "kernel table --diff takes two releases, not %d", len(operands))
	}
	a, err := findABI(abi)
	if err != nil {
		return err
	}
	var sides [2]facts.Release
	for i, text := range operands {
		if sides[i], err = release(text); err != nil {
			return err
		}
	}
	changes := changesBetween(a, sides)
	if asJSON {
		return applet.WriteJSON(w, struct {
			ABI     string   `json:"abi"`
			Left    string   `json:"left"`
			Right   string   `json:"right"`
			Changes []change `json:"changes"`
		}{a.Name, sides[0].Describe(a), sides[1].Describe(a), changes})
	}
	printDiff(w, a, operands, sides, changes)
	return nil
}

func changesBetween(a *facts.ABI, sides [2]facts.Release) []change {
	changes := []change{}
	for _, c := range a.Calls() {
		left, right := sides[0].Has(c), sides[1].Has(c)
		if left.Has == right.Has {
			continue
		}
		changes = append(changes, change{c.Nr, c.Name, c.Since(), left.Has, right.Has, c.Source(), [2]string{cell(c, left), cell(c, right)}})
	}
	return changes
}

// cell shows since when a release has a call: the mainline release, or the vendor's that carried
// it back.
func cell(c facts.Call, a facts.Answer) string {
	switch {
	case !a.Has && a.Profile != "":
		return "left out of " + a.Profile
	case !a.Has:
		return "-"
	case a.Profile != "":
		return c.Since() + ", in " + a.Profile
	}
	return c.Since()
}

func printDiff(w io.Writer, a *facts.ABI, texts []string, sides [2]facts.Release, changes []change) {
	for i, r := range sides {
		fmt.Fprintf(w, "%s: %s\n", texts[i], r.Describe(a))
	}
	came := 0
	t := columns(w)
	row(t, "NR", "NAME", texts[0], texts[1])
	for _, c := range changes {
		row(t, c.Nr, c.Name, c.cells[0], c.cells[1])
		if c.Right {
			came++
		}
	}
	t.Flush()
	fmt.Fprintf(w, "%s: %d came, %d went\n", a.Name, came, len(changes)-came)
}
