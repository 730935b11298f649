package farm

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// unrecorded lists places that a damaged journal does not have: names that lead to binproxy, with
// the real file beside them, in the directories of the journal's own places and of the farms'
// links. lost means that there are none, but that there are farms whose journal is gone.
func (m *image) unrecorded() (found []string, lost bool, err error) {
	dirs := map[string]bool{}
	for _, place := range m.journal.places {
		dirs[filepath.Dir(place)] = true
	}
	for _, farm := range m.cfg.AllFarms() {
		links, err := m.farmLinks(farm)
		if err != nil {
			return nil, false, err
		}
		lost = lost || len(links) > 0 && m.journal.size == 0
		for _, link := range links {
			dirs[filepath.Dir(strings.TrimPrefix(link, farm))] = true
		}
	}
	for _, dir := range sorted(dirs) {
		entries, _ := os.ReadDir(dir) // a directory that is gone has no places
		for _, e := range entries {
			path := filepath.Join(dir, e.Name())
			if e.Type() == fs.ModeSymlink && !IsAside(path) && leadsTo(path, m.cfg.Self()) && exists(Aside(path)) && !m.journal.placed(path) {
				found = append(found, path)
			}
		}
	}
	return found, lost, nil
}

// adopt adds them to the journal.
func (m *image) adopt() error {
	found, lost, err := m.unrecorded()
	if err != nil || len(found) == 0 && !lost {
		return err
	}
	records := []record{{verb: verbDamaged, path: m.cfg.Dir}}
	for _, place := range found {
		records = append(records, record{verb: verbPlace, path: place})
	}
	for _, r := range records {
		m.journal.add(r)
	}
	m.remark("%s is damaged: %d of the commands in place, which it did not have, were found by their links", m.journal.path, len(found))
	return nil
}

// DamagedError means that the journal at Journal is not reliable. Clean removed what it could
// find, and kept the bundle, because commands may still be links to its program.
type DamagedError struct{ Journal, Program string }

func (e *DamagedError) Error() string {
	return fmt.Sprintf("%s is damaged: the commands that could be found are themselves again, but others may still be links to %s, which was kept; "+
		"`find / -xdev -lname %s` lists them, each with its file beside it as %sNAME; then remove the bundle", e.Journal, e.Program, e.Program, asidePrefix)
}
