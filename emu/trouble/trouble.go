// Package trouble knows how emulators are known to fail. When a guest program ends in such a way,
// it says so in one line, with the remedy.
//
// A row of the table first judges an end by what is known at once. That is cheap, since most
// programs that end badly have reasons of their own. What a trial can confirm is tried, but only
// when the command has ended: until then the supervisor waits for every child of this process.
//
// Of the guest's files it opens only the program itself, by the supervisor's descriptor: the name
// may lead to another file by now, even to one that never answers.
package trouble

import (
	"fmt"
	"io"
	"slices"

	"binproxy/emu/supervise"
)

// A row is one known trouble.
type row struct {
	name     string
	native   bool // of native programs, too
	suspects func(supervise.Death) bool
	// what the program needs and does not find; "" means no suspicion
	lacks    func(supervise.Death) string
	confirms func(supervise.Death) bool // nil where nothing can confirm the suspicion
	says     func(d supervise.Death, lacks string) string
}

// Watch collects suspicious ends: the first one of each row.
type Watch struct {
	seen []suspicion
}

type suspicion struct {
	row   *row
	death supervise.Death
	lacks string
}

// Died records an end; it is for supervise.Config.
func (w *Watch) Died(d supervise.Death) {
	for i := range rows {
		r := &rows[i]
		if d.ABI == nil && !r.native || !r.suspects(d) {
			continue
		}
		lacks := ""
		if r.lacks != nil {
			if lacks = r.lacks(d); lacks == "" {
				continue
			}
		}
		known := func(s suspicion) bool { return s.row == r }
		if !slices.ContainsFunc(w.seen, known) {
			w.seen = append(w.seen, suspicion{r, d, lacks})
		}
		return // the likeliest
	}
}

// Print prints a line for each trouble that is confirmed. Call it after the command's end.
func (w *Watch) Print(out io.Writer) {
	for _, s := range w.seen {
		if s.row.confirms == nil || s.row.confirms(s.death) {
			fmt.Fprintf(out, "binproxy: %s\n", s.row.says(s.death, s.lacks))
		}
	}
}
