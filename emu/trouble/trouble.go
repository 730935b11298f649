// Package trouble knows the ways in which emulators are known to fail, and says so when a guest
// program ends in one of them: in one line, with the remedy.
//
// A row of the table first judges an end by what is known at once. That is cheap, since most
// programs that end badly do so for reasons of their own. What can be confirmed by a try is tried,
// but only when the command has ended: until then the supervisor waits for every child of this
// process.
//
// Of the guest's files only the program itself is opened, by the descriptor that the supervisor
// has of it: its name may lead to another file by now, even to one that never answers.
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
	suspects func(supervise.Death) bool
	// what the program needs and does not find; where that is "", nothing is suspected
	lacks    func(supervise.Death) string
	confirms func(supervise.Death) bool // nil where the suspicion is all that can be had
	says     func(d supervise.Death, lacks string) string
}

// Watch collects suspicious ends: the first of each row.
type Watch struct {
	seen []suspicion
}

type suspicion struct {
	row   *row
	death supervise.Death
	lacks string
}

// Died takes note of an end; it is for supervise.Config.
func (w *Watch) Died(d supervise.Death) {
	for i := range rows {
		r := &rows[i]
		if !r.suspects(d) {
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

// Print says what the trouble was: a line for each that is confirmed. It is for the time after the
// command's end.
func (w *Watch) Print(out io.Writer) {
	for _, s := range w.seen {
		if s.row.confirms == nil || s.row.confirms(s.death) {
			fmt.Fprintf(out, "binproxy: %s\n", s.row.says(s.death, s.lacks))
		}
	}
}
