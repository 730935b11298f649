package farm

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// JournalName is the journal's name in the bundle. The journal is not in a farm, so that it exists
// before the first farm does, and so that a bundle with several farms has only one.
const JournalName = ".journal"

// The journal is a file of lines, only ever appended to. Each line is synced before the change
// that it announces. The lines of all links that an install puts in place are synced together:
//
//	bundle "DIR"             the first line: the journal belongs to the bundle at DIR
//	farm "DIR"               a farm is made at DIR
//	mtime "DIR" NANOSECONDS  the directory DIR is changed; this was its modification time
//	settled "DIR"            DIR's modification time was put back
//	place "PATH" GROUP       a link is put in PATH's place; a file's hard links share a GROUP, 0 for none
//	sibling "PATH" GROUP     PATH is a hard link of the group that stays where it is
//	relink "PATH"            PATH is made a hard link of its group again, by a clean
//	relinked "PATH"          that clean is over: a file beside PATH from now on is install's
//	kept "PATH"              the link PATH in a farm, not install's, is replaced by install's
//	damaged "DIR"            the journal of the bundle DIR lacked what follows, and perhaps more
//
// Names are quoted as Go quotes strings, which keeps every byte of a name. A record says that a
// change was begun, the file system shows its result: a change is undone by looking at both. If
// the last line lacks its newline, it was not written, and its change was not made.
type record struct {
	verb string
	path string
	n    int64 // the time, or the group
}

const (
	verbBundle   = "bundle"
	verbFarm     = "farm"
	verbMtime    = "mtime"
	verbSettled  = "settled"
	verbPlace    = "place"
	verbSibling  = "sibling"
	verbRelink   = "relink"
	verbRelinked = "relinked"
	verbKept     = "kept"
	verbDamaged  = "damaged"
)

func hasNumber(verb string) bool {
	return verb == verbMtime || verb == verbPlace || verb == verbSibling
}

func (r record) String() string {
	line := r.verb + " " + strconv.Quote(r.path)
	if hasNumber(r.verb) {
		line += " " + strconv.FormatInt(r.n, 10)
	}
	return line
}

// parseRecord reads one line. It accepts only absolute, clean paths: whatever a damaged journal
// says, nothing else is changed.
func parseRecord(line string) (record, bool) {
	verb, rest, _ := strings.Cut(line, " ")
	switch verb {
	case verbBundle, verbFarm, verbMtime, verbSettled, verbPlace, verbSibling, verbRelink, verbRelinked, verbKept, verbDamaged:
	default:
		return record{}, false
	}
	quoted, err := strconv.QuotedPrefix(rest)
	if err != nil || quoted[0] != '"' {
		return record{}, false
	}
	r := record{verb: verb}
	if r.path, err = strconv.Unquote(quoted); err != nil || !filepath.IsAbs(r.path) || filepath.Clean(r.path) != r.path {
		return record{}, false
	}
	rest = rest[len(quoted):]
	if !hasNumber(verb) {
		return r, rest == ""
	}
	number, ok := strings.CutPrefix(rest, " ")
	if !ok {
		return record{}, false
	}
	r.n, err = strconv.ParseInt(number, 10, 64)
	return r, err == nil
}

// journal is the sum of the records, and the file that gets more records.
type journal struct {
	path    string
	file    *os.File // nil until the first record is added
	size    int64    // of its complete lines
	pending string   // lines to write
	bundle  string   // the bundle that it belongs to
	farms   []string
	mtimes  map[string]time.Time // directories whose time was not restored yet
	places  []string             // in the order of their records
	groups  map[string]int64     // of places and siblings
	relinks map[string]bool      // of a clean that did not finish
	kept    map[string]bool      // links of farms that were kept aside, or were to be
	last    int64                // the highest group number
	damaged bool                 // it has a line that nobody wrote, or a place is not recorded
}

func newJournal(path string) *journal {
	return &journal{path: path, mtimes: map[string]time.Time{}, groups: map[string]int64{}, relinks: map[string]bool{}, kept: map[string]bool{}}
}

// readJournal reads a bundle's journal. A missing journal is empty. It refuses the journal of a
// bundle at another path: this bundle is then a copy, or is seen from another root, and the links
// do not lead to it.
func readJournal(dir string) (*journal, error) {
	j := newJournal(filepath.Join(dir, JournalName))
	text, err := os.ReadFile(j.path)
	if errors.Is(err, fs.ErrNotExist) {
		return j, nil
	}
	j.load(string(text))
	if err == nil && j.bundle != "" && j.bundle != dir {
		err = fmt.Errorf("%s is the journal of the bundle %s, and undone by that one's clean; nothing was changed: "+
			"move the bundle back there, or, if this is a copy, remove the copy's journal", j.path, j.bundle)
	}
	return j, err
}

func (j *journal) load(text string) {
	whole := strings.LastIndexByte(text, '\n') + 1
	j.size = int64(whole)
	for line := range strings.SplitSeq(text[:whole], "\n") {
		if r, ok := parseRecord(line); ok {
			j.note(r)
		} else if line != "" {
			j.damaged = true
		}
	}
	j.damaged = j.damaged || whole > 0 && !strings.HasPrefix(text, verbBundle+" ")
}

func (j *journal) note(r record) {
	switch r.verb {
	case verbBundle:
		j.bundle = r.path
	case verbFarm:
		j.farms = append(j.farms, r.path)
	case verbMtime:
		if _, begun := j.mtimes[r.path]; !begun {
			j.mtimes[r.path] = time.Unix(0, r.n)
		}
	case verbSettled:
		delete(j.mtimes, r.path)
	case verbRelink:
		j.relinks[r.path] = true
	case verbRelinked:
		delete(j.relinks, r.path)
	case verbKept:
		j.kept[r.path] = true
	case verbDamaged:
		j.damaged = true
	case verbPlace:
		if !j.placed(r.path) {
			j.places = append(j.places, r.path)
			delete(j.groups, r.path)
		}
		fallthrough
	case verbSibling:
		j.groups[r.path] = r.n
		j.last = max(j.last, r.n)
	}
}

func (j *journal) placed(path string) bool { return slices.Contains(j.places, path) }

// isEmpty reports whether nothing was ever recorded.
func (j *journal) isEmpty() bool { return j.size == 0 && j.pending == "" }

// add adds a record, which the next flush writes to the file.
func (j *journal) add(r record) {
	j.pending += r.String() + "\n"
	j.note(r)
}

// flush syncs all records. Each change waits for it.
func (j *journal) flush() error {
	if j.pending == "" {
		return nil
	}
	fresh := j.size == 0
	err := j.write()
	if err == nil {
		err = fsync(j.file)
	}
	if err == nil && fresh {
		err = j.syncName()
	}
	return err
}

// syncName has the name of the journal's file on the disk.
func (j *journal) syncName() error {
	dir, err := os.Open(filepath.Dir(j.path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return fsync(dir)
}

// write writes the pending lines. It first cuts off the torn last line of a killed run.
func (j *journal) write() error {
	if j.pending == "" {
		return nil
	}
	text := j.pending
	j.pending = "" // also if the write fails: a rollback must not fail for the same lines
	if err := j.open(); err != nil {
		return err
	}
	if j.size == 0 {
		text = record{verb: verbBundle, path: filepath.Dir(j.path)}.String() + "\n" + text
	}
	step()
	if _, err := j.file.WriteAt([]byte(text), j.size); err != nil {
		j.file.Truncate(j.size)
		return err
	}
	j.size += int64(len(text))
	return nil
}

func (j *journal) open() error {
	if j.file != nil {
		return nil
	}
	step()
	f, err := os.OpenFile(j.path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	j.file = f
	return f.Truncate(j.size)
}

func (j *journal) close() {
	if j.file != nil {
		j.file.Close()
		j.file = nil
	}
}
