package kernel

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"binproxy/applets/applet"
	"binproxy/emu/arch"
	"binproxy/emu/exit"
	facts "binproxy/emu/kernel"
	"binproxy/emu/kernel/record"
)

// recordJSON is `kernel record --json`.
type recordJSON struct {
	Command []string    `json:"command"`
	Status  int         `json:"status"`
	Needs   []*needJSON `json:"needs"`
	Oldest  string      `json:"oldest"` // the oldest release with all calls
	// the oldest release with the calls that the command needs; "" if that is unknown
	Without string `json:"oldest_hard"`
}

type needJSON struct {
	ABI    string `json:"abi"`
	Nr     uint32 `json:"nr"`
	Name   string `json:"name"`
	Count  int    `json:"count"`
	Since  string `json:"since"`
	Kind   string `json:"kind,omitempty"`
	Source string `json:"source"`

	key   record.Key
	first facts.Version
}

// recording are the flags of record.
type recording struct {
	once, json bool
	output     string
}

func recordFlags(f applet.Flags) applet.Run {
	var r recording
	f.BoolVar(&r.once, "once", false, "run COMMAND only once, without finding out which calls it needs")
	f.BoolVar(&r.json, "json", false, applet.JSONUsage)
	f.StringVar(&r.output, "output", "", "`FILE` print to FILE, not to standard error")
	return func(argv []string) error { return r.run(argv) }
}

func (r recording) run(argv []string) error {
	if len(argv) == 0 {
		return exit.Errorf(exit.Failed, "kernel record: the command is missing; see binproxy help kernel")
	}
	c, err := findCommand(argv)
	if err != nil {
		return err
	}
	started := time.Now()
	uses, status, err := record.Trace(c.path, c.argv, os.Environ())
	if err != nil {
		return failed(err)
	}
	doc := recordJSON{Command: argv, Status: record.Status(status), Needs: needs(uses)}
	if !r.once {
		if err := doc.findKinds(c, 5*time.Second+10*time.Since(started)); err != nil {
			return failed(err)
		}
	}
	doc.findOldest()
	if err := writeRecord(r.output, doc, r.json); err != nil {
		return failed(err)
	}
	return exit.Ended(status)
}

// needs lists the calls that the kernel has and the command used, the newest first.
func needs(uses map[record.Key]*record.Use) []*needJSON {
	list := []*needJSON{}
	for key, use := range uses {
		c, ok := callOf(key)
		if !ok || use.Absent == use.Count {
			continue // the command has already gone on without it, or failed
		}
		list = append(list, &needJSON{ABI: c.ABI.Name, Nr: c.Nr, Name: c.Name, Count: use.Count, Since: c.Since(), Source: c.Source(), key: key, first: c.First()})
	}
	slices.SortFunc(list, func(a, b *needJSON) int {
		return cmp.Or(cmp.Compare(b.first, a.first), strings.Compare(a.ABI, b.ABI), cmp.Compare(a.Nr, b.Nr))
	})
	return list
}

// callOf finds the call of a number in this host's tables: the newest one with that number.
func callOf(key record.Key) (facts.Call, bool) {
	const x32Bit = 0x40000000
	nr := key.Nr
	for _, a := range facts.Family(arch.Host()) {
		bit := uint32(0)
		if a.Name == x32Name {
			bit = x32Bit
		}
		if auditOf(a) != key.Audit || nr&x32Bit != bit {
			continue
		}
		if calls := a.ByNumber(nr &^ bit); len(calls) > 0 && !calls[len(calls)-1].Never() {
			return calls[len(calls)-1], true
		}
	}
	return facts.Call{}, false
}

// findKinds runs the command again for each call that some kernels lack.
func (doc *recordJSON) findKinds(c command, limit time.Duration) error {
	again := record.Again{Path: c.path, Argv: c.argv, Env: os.Environ(), Wanted: doc.Status, Limit: limit}
	stable, err := again.Stable()
	if err != nil {
		return err
	}
	for _, n := range doc.Needs {
		if n.first == 0 {
			break // sorted: every kernel has the rest
		}
		kind := record.Unknown
		if stable {
			if kind, err = again.Kind(n.key); err != nil {
				return err
			}
		}
		n.Kind = string(kind)
	}
	return nil
}

func (doc *recordJSON) findOldest() {
	var all, hard facts.Version
	known := true
	for _, n := range doc.Needs {
		all = max(all, n.first)
		switch n.Kind {
		case string(record.Hard):
			hard = max(hard, n.first)
		case "", string(record.Unknown):
			known = known && n.first == 0
		}
	}
	doc.Oldest = all.String()
	if known {
		doc.Without = hard.String()
	}
}

// writeRecord prints to a file, or to standard error, since standard output is the command's.
func writeRecord(path string, doc recordJSON, asJSON bool) error {
	var w io.Writer = os.Stderr
	if path != "" {
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		defer f.Close()
		w = f
	}
	if asJSON {
		return applet.WriteJSON(w, doc)
	}
	old := 0
	t := columns(w)
	row(t, "ABI", "NR", "NAME", "COUNT", "SINCE", "KIND")
	for _, n := range doc.Needs {
		if n.first == 0 {
			old++
			continue
		}
		row(t, n.ABI, n.Nr, n.Name, n.Count, n.Since, cmp.Or(n.Kind, "-"))
	}
	t.Flush()
	fmt.Fprintf(w, "and %d calls that 2.6.32 has\n", old)
	fmt.Fprintf(w, "oldest kernel with all of it: %s\n", doc.Oldest)
	if doc.Without != "" {
		fmt.Fprintf(w, "oldest kernel with what it cannot do without: %s\n", doc.Without)
	}
	return nil
}
