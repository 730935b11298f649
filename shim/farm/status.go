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

	"binproxy/emu/config"
	"binproxy/emu/sys"
)

// Item is one name of the image. It is routed if it is in the farm or in place. If it is neither,
// Reason says why.
type Item struct {
	Path    string
	Farm    bool // a farm has a link for it
	InPlace bool // a call by its absolute path is routed
	Reason  string
	Notes   []string // what works differently from a native system
}

// Status is what an image looks like.
type Status struct {
	Bundle  string
	Farms   []string
	Items   []Item
	Remarks []string // what the next install or clean will repair
}

// Inspect looks at an image and changes nothing. It looks at the directories of path (a PATH; ""
// for DefaultPath), and at those that install changed.
func Inspect(cfg config.Config, path string) (Status, error) {
	j, err := readJournal(cfg.Dir)
	if err != nil {
		return Status{}, err
	}
	s := Status{Bundle: cfg.Dir}
	m := &image{cfg: cfg, scan: newScanner(cfg, ""), journal: j}
	if err := m.adopt(); err != nil {
		return Status{}, err
	}
	farmed := map[string]bool{}
	var dirs []string
	for _, dir := range m.scan.pathDirs(path) {
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			dirs = append(dirs, real)
		}
	}
	for _, farm := range cfg.AllFarms() {
		if !exists(farm) {
			continue
		}
		s.Farms = append(s.Farms, farm)
		links, err := m.farmLinks(farm)
		if err != nil {
			return Status{}, err
		}
		for _, link := range links {
			guest := strings.TrimPrefix(link, farm)
			farmed[guest] = true
			dirs = append(dirs, filepath.Dir(guest))
		}
	}
	for _, place := range j.places {
		dirs = append(dirs, filepath.Dir(place))
	}
	slices.Sort(dirs)
	for _, dir := range slices.Compact(dirs) {
		found, err := m.scan.list(dir)
		if err != nil {
			return Status{}, err
		}
		for _, f := range found {
			s.Items = append(s.Items, m.item(f, farmed[f.path]))
			delete(farmed, f.path)
		}
	}
	m.leftovers(farmed)
	s.Remarks = m.remarks
	return s, nil
}

func (m *image) item(f finding, farmed bool) Item {
	item := Item{Path: f.path, Farm: farmed && f.routed(), Reason: f.reason}
	if !f.routed() {
		return item
	}
	item.InPlace = m.routedByPath(f)
	item.Notes = f.notes
	if !item.Farm && !item.InPlace {
		item.Reason = "not taken in yet: run binproxy install"
	}
	return item
}

// routedByPath reports whether an exec of the path itself reaches binproxy: by the name, or by the
// interpreter of the script.
func (m *image) routedByPath(f finding) bool {
	return follow(f.path) == m.cfg.Self() || f.place != f.path && follow(f.place) == m.cfg.Self()
}

// leftovers reports what a package manager or a killed run left.
func (m *image) leftovers(farmed map[string]bool) {
	for _, guest := range sorted(farmed) {
		m.remark("%s: the farm has a link for it, and the file has gone", display(guest))
	}
	for _, place := range m.journal.places {
		aside := Aside(place)
		switch in := leadsTo(place, m.cfg.Self()); {
		case in && !exists(aside):
			m.remark("%s: leads to binproxy, and its file (%s) has gone", display(place), display(aside))
		case !in && exists(aside) && !exists(place):
			m.remark("%s: was removed since it was put in place", display(place))
		case !in && exists(aside) && !leadsTo(aside, m.cfg.Self()) && !sameFile(aside, place):
			m.remark("%s: was replaced since it was put in place, and is not routed by its path", display(place))
		case !in && exists(aside):
			m.remark("%s: a run that was killed was about to put it in place", display(place))
		}
	}
	for _, dir := range sorted(m.journal.mtimes) {
		m.remark("%s: a run that was killed left its modification time changed", display(dir))
	}
}

func sorted[V any](m map[string]V) []string {
	var keys []string
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// display is a name as one line of text: quoted if a character in it would not show.
func display(name string) string {
	if quoted := strconv.Quote(name); quoted != `"`+name+`"` {
		return quoted
	}
	return name
}

// Display is a name for people to read, on one line, whatever bytes it has.
func Display(name string) string { return display(name) }

// Bundle is the bundle of the running program, found as a shim finds it, without /proc.
func Bundle(argv []string) (config.Config, error) {
	argv0 := ""
	if len(argv) > 0 {
		argv0 = argv[0]
	}
	call, err := Locate(sys.Execfn(), argv0)
	if err != nil {
		return config.Config{}, err
	}
	self, err := filepath.EvalSymlinks(call.Root.Self)
	if err != nil {
		return config.Config{}, err
	}
	if filepath.Base(self) != config.Binary {
		return config.Config{}, fmt.Errorf("%s: the program is called %s in a bundle", self, config.Binary)
	}
	dir := filepath.Dir(self)
	if dir == "/" {
		return config.Config{}, errors.New("the bundle is the root directory: put it into one of its own")
	}
	return config.Load(dir)
}

// NeedBundle returns nil if the directory is a bundle.
func NeedBundle(cfg config.Config) error {
	_, err := os.Lstat(filepath.Join(cfg.Dir, config.Name))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", cfg.Self(), ErrNoBundle)
	}
	return err
}
