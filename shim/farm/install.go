package farm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"binproxy/emu/config"
	"binproxy/emu/growing"
	"binproxy/emu/sys"
)

// Options says what Install makes.
type Options struct {
	Farm  string   // the farm's directory, absolute; "" for the bundle's farm, or BUNDLE/farm
	Paths []string // files that get a link in their place, and directories whose entries get one
	Path  string   // the PATH whose directories the farm mirrors; "" for DefaultPath
	Shell string   // /bin/sh, to put in place as well; "" for not
	// further shells, which get a link in their place if they are there, and guests
	Shells []string

	replaced bool // only what was replaced since is put in place again (Renew)
}

// Installed is what Install did.
type Installed struct {
	Farm            string
	Links, Places   int // how many there are now
	Added, Dropped  int // farm links, by this run
	Placed          int // by this run
	Remarks         []string
	NothingToChange bool
}

// image is a change of an image in progress: the bundle, its lock and journal, and the steps that
// undo this run's changes.
type image struct {
	cfg     config.Config
	scan    *scanner
	journal *journal
	lock    *os.File
	names   growing.Names
	undo    []func() error
	remarks []string
}

// open locks the bundle's image and reads its journal. The lock is on the bundle's directory, so
// two changes never overlap.
func open(ctx context.Context, cfg config.Config, shell string) (*image, error) {
	lock, err := sys.Lock(ctx, cfg.Dir)
	if err != nil {
		return nil, err
	}
	// Read under the lock: its last holder may have added a farm, or removed the bundle.
	cfg, err = config.Load(cfg.Dir)
	if err == nil {
		err = NeedBundle(cfg)
	}
	if err != nil {
		lock.Close()
		return nil, err
	}
	j, err := readJournal(cfg.Dir)
	if err != nil {
		lock.Close()
		return nil, err
	}
	m := &image{cfg: cfg, scan: newScanner(cfg, shell), journal: j, lock: lock}
	if err := m.adopt(); err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

func (m *image) close() {
	m.journal.close()
	m.names.Close()
	m.lock.Close()
}

func (m *image) remark(format string, args ...any) {
	m.remarks = append(m.remarks, fmt.Sprintf(format, args...))
}

// touch records a directory's modification time before its first change, settle restores the
// times: no program of the image changed anything there.
func (m *image) touch(dir string) error {
	if _, begun := m.journal.mtimes[dir]; begun {
		return nil
	}
	f, err := m.names.Dir(dir)
	if err != nil {
		return err
	}
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	m.journal.add(record{verbMtime, dir, fi.ModTime().UnixNano()})
	return nil
}

func (m *image) settle() error {
	dirs := sorted(m.journal.mtimes)
	for _, dir := range dirs {
		if err := m.setMtime(dir, m.journal.mtimes[dir]); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for _, dir := range dirs {
		m.journal.add(record{verb: verbSettled, path: dir})
	}
	return nil
}

// plan is what an image is to get.
type plan struct {
	// directories of the image that are symbolic links, and their targets
	mirrors map[string]string
	// names in the image that the farm has links for; their directories are no links
	links  []string
	places []string           // sorted
	hard   map[inode][]string // the names of files that have several, as far as seen
}

type inode struct{ dev, ino uint64 }

// Install makes the farm and puts links in place, or adds what is new since the last time. After
// an error nothing is half done: it undoes this run's changes.
func Install(cfg config.Config, opts Options) (Installed, error) {
	return install(context.Background(), cfg, opts)
}

func install(ctx context.Context, cfg config.Config, opts Options) (Installed, error) {
	farm, err := chooseFarm(cfg, opts.Farm)
	if err != nil {
		return Installed{}, err
	}
	m, err := open(ctx, cfg, opts.Shell)
	if err != nil {
		return Installed{}, err
	}
	defer m.close()
	fresh := m.journal.isEmpty()
	p, err := m.plan(opts)
	if err == nil {
		err = m.writable(farm, p)
	}
	if err != nil {
		return Installed{}, err
	}
	done := Installed{Farm: farm}
	if err := m.apply(farm, p, &done); err != nil {
		return Installed{}, errors.Join(err, m.rollback(fresh))
	}
	done.Remarks = m.remarks
	done.NothingToChange = done.Added+done.Dropped+done.Placed == 0
	return done, nil
}

// chooseFarm checks the farm's directory: it must be our own, or new.
func chooseFarm(cfg config.Config, farm string) (string, error) {
	switch {
	case farm == "" && len(cfg.Farms) > 0:
		return cfg.Farms[0], nil
	case farm == "" || slices.Contains(cfg.AllFarms(), farm):
		return cmp.Or(farm, cfg.Farm()), nil
	case !filepath.IsAbs(farm) || filepath.Clean(farm) != farm || farm == "/" || strings.Contains(farm, "\n"):
		return "", fmt.Errorf("farm %q: needs an absolute path without ., .. or newlines", farm)
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(farm))
	if err != nil {
		return "", fmt.Errorf("farm: the directory that is to hold it: %w", err)
	}
	farm = filepath.Join(dir, filepath.Base(farm))
	entries, err := os.ReadDir(farm)
	if err == nil && len(entries) > 0 && !slices.Contains(cfg.Farms, farm) {
		return "", fmt.Errorf("farm %s: is there already, and not empty", farm)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	return farm, nil
}

func (m *image) plan(opts Options) (*plan, error) {
	p := &plan{mirrors: map[string]string{}, hard: map[inode][]string{}}
	places := map[string]struct{}{}
	named, files, err := split(opts.Paths)
	if err != nil {
		return nil, err
	}
	dirs := slices.Concat(m.scan.pathDirs(opts.Path), named)
	if opts.replaced {
		dirs, files = nil, m.journal.replaced(m.cfg.Self())
	}
	for _, dir := range dirs {
		real, err := p.mirror(dir)
		if err != nil {
			continue // a directory of PATH that is not there
		}
		found, err := m.scan.list(real)
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			p.add(f, slices.Contains(named, dir), places)
		}
	}
	for _, file := range files {
		dir, err := p.mirror(filepath.Dir(file))
		if err != nil {
			return nil, err
		}
		f, _ := m.scan.look(filepath.Join(dir, filepath.Base(file)))
		if f.path == m.scan.shell {
			f.place = f.path // it may be a link: see planShell
		}
		if !f.routed() {
			m.remark("%s: left alone: %s", display(file), f.reason)
		}
		p.add(f, true, places)
	}
	if !opts.replaced {
		m.planShell(opts.Shell, places)
	}
	m.planShells(p, opts.Shells, places)
	for place := range places {
		if why := m.cannotPlace(place); why != "" {
			m.remark("%s: not put in place: %s", display(place), why)
			delete(places, place)
		}
	}
	p.places = slices.Sorted(maps.Keys(places))
	slices.Sort(p.links)
	p.links = slices.Compact(p.links)
	return p, nil
}

func (m *image) cannotPlace(place string) string {
	switch {
	case len(filepath.Base(place)) > maxName:
		return fmt.Sprintf("its name has over %d bytes", maxName)
	case exists(Aside(place)) && !m.journal.placed(place) && !m.journal.kept[place]:
		return display(Aside(place)) + " is in the way"
	}
	return ""
}

// planShell adds /bin/sh itself, whether it is a symbolic link or not: the shell that it leads to
// can still be called by its own name.
func (m *image) planShell(shell string, places map[string]struct{}) {
	if m.scan.shell == "" {
		return
	}
	if f, _ := m.scan.look(m.scan.shell); !f.routed() {
		m.remark("%s: left alone: %s", shell, f.reason)
		return
	}
	places[m.scan.shell] = struct{}{}
}

// planShells adds the other shells, as if they were named. The image may have others than its
// list says, and native ones.
func (m *image) planShells(p *plan, shells []string, places map[string]struct{}) {
	for _, shell := range shells {
		dir, err := p.mirror(filepath.Dir(shell))
		if err != nil {
			continue
		}
		if f, ok := m.scan.look(filepath.Join(dir, filepath.Base(shell))); ok && f.path != m.scan.shell {
			p.add(f, true, places)
		}
	}
}

// split sorts the named paths into directories and files.
func split(paths []string) (dirs, files []string, err error) {
	for _, path := range paths {
		abs, err := filepath.Abs(path)
		if err != nil {
			return nil, nil, err
		}
		fi, err := os.Stat(abs)
		switch {
		case err != nil && !exists(abs):
			return nil, nil, err
		case err == nil && fi.IsDir():
			dirs = append(dirs, abs)
		default:
			files = append(files, abs)
		}
	}
	return dirs, files, nil
}

// mirror records the symbolic links in a directory's own path, so that FARM/bin leads to
// FARM/usr/bin as /bin leads to /usr/bin. It returns the directory's path without them.
func (p *plan) mirror(dir string) (string, error) {
	real := "/"
	for name := range strings.SplitSeq(strings.Trim(dir, "/"), "/") {
		path := filepath.Join(real, name)
		to, err := filepath.EvalSymlinks(path)
		if err != nil {
			return "", err
		}
		if to != path {
			p.mirrors[path] = to
		}
		real = to
	}
	return real, nil
}

func (p *plan) add(f finding, inPlace bool, places map[string]struct{}) {
	if !f.routed() || f.path == "" {
		return
	}
	p.links = append(p.links, f.path)
	if inPlace && f.place != "" {
		places[f.place] = struct{}{}
	}
	if fi, err := os.Lstat(f.path); err == nil && fi.Mode().IsRegular() {
		if st := fi.Sys().(*syscall.Stat_t); st.Nlink > 1 {
			key := inode{uint64(st.Dev), st.Ino}
			if !slices.Contains(p.hard[key], f.path) {
				p.hard[key] = append(p.hard[key], f.path)
			}
		}
	}
}

// writable finds what would fail before the first change is made.
func (m *image) writable(farm string, p *plan) error {
	dirs := []string{m.cfg.Dir}
	if exists(farm) {
		dirs = append(dirs, farm)
	} else {
		dirs = append(dirs, filepath.Dir(farm))
	}
	for _, place := range p.places {
		if dir := filepath.Dir(place); !slices.Contains(dirs, dir) && !leadsTo(place, m.cfg.Self()) {
			dirs = append(dirs, dir)
		}
	}
	for _, dir := range dirs {
		if err := sys.Writable(dir); err != nil {
			return fmt.Errorf("%w; nothing was changed", err)
		}
	}
	return nil
}

// did records how to undo a change of this run.
func (m *image) did(undo func() error) { m.undo = append(m.undo, undo) }

// rollback undoes what this run did, the last change first.
func (m *image) rollback(fresh bool) error {
	var errs []error
	for _, undo := range slices.Backward(m.undo) {
		errs = append(errs, undo())
	}
	errs = append(errs, m.settle())
	if fresh && errors.Join(errs...) == nil {
		errs = append(errs, m.remove(m.journal.path))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("and could not take back what was done; binproxy clean can: %w", err)
	}
	return nil
}

func (m *image) apply(farm string, p *plan, done *Installed) error {
	if err := m.endRelinks(); err != nil {
		return err
	}
	if err := m.announce(p); err != nil {
		return err
	}
	if err := m.makeFarm(farm); err != nil {
		return err
	}
	if err := m.makeLinks(farm, p, done); err != nil {
		return err
	}
	if err := m.makePlaces(p, done); err != nil {
		return err
	}
	for _, farm := range m.cfg.AllFarms() {
		if err := m.dropLinks(farm, done); err != nil {
			return err
		}
	}
	if err := m.dropAsides(); err != nil {
		return err
	}
	if err := m.settle(); err != nil {
		return err
	}
	return m.journal.write()
}

func (m *image) makePlaces(p *plan, done *Installed) error {
	for _, place := range p.places {
		if !leadsTo(place, m.cfg.Self()) {
			placed, err := m.putInPlace(place)
			if err != nil {
				return err
			}
			if placed {
				done.Placed++
			}
		}
	}
	for _, place := range m.journal.places {
		if leadsTo(place, m.cfg.Self()) {
			done.Places++
		}
	}
	return nil
}

// group is a file with several names, which clean must make one file again: on an overlay file
// system, exchanging a name copies the file up, and separates it from the others.
type group struct {
	n     int64
	names []string
}

// groups finds the hard links of what is to be put in place. Names that were one group before stay
// one.
func (m *image) groups(p *plan) map[string]*group {
	groups := map[string]*group{}
	for _, names := range p.hard {
		g := &group{names: names}
		for _, name := range names {
			g.n = max(g.n, m.journal.groups[name])
			groups[name] = g
		}
	}
	return groups
}

// announce records everything that is to be put in place before the first change: so the journal
// is synced once, and not for each link.
func (m *image) announce(p *plan) error {
	groups := m.groups(p)
	for _, place := range p.places {
		if leadsTo(place, m.cfg.Self()) {
			continue
		}
		n := m.announceGroup(place, groups)
		if !m.journal.placed(place) || m.journal.groups[place] != n {
			m.journal.add(record{verbPlace, place, n})
		}
		if err := m.touch(filepath.Dir(place)); err != nil {
			return err
		}
	}
	return nil
}

// announceGroup records the place's hard links, and returns the number that they share.
func (m *image) announceGroup(place string, groups map[string]*group) int64 {
	g := groups[place]
	if g == nil || len(g.names) < 2 {
		return m.journal.groups[place]
	}
	if g.n == 0 {
		g.n = m.journal.last + 1
	}
	for _, name := range g.names {
		if name != place && m.journal.groups[name] == 0 {
			m.journal.add(record{verbSibling, name, g.n})
		}
	}
	return g.n
}

// putInPlace makes the place, which the journal has, a link.
func (m *image) putInPlace(place string) (bool, error) {
	if err := m.clearAside(place, "routed now"); err != nil {
		return false, err
	}
	if exists(Aside(place)) {
		return false, nil // kept for a renamed command, whose new name nobody can tell
	}
	m.did(func() error { return m.takeOut(place) })
	return true, m.putLink(place)
}

// putLink makes path a link and keeps the file beside it. The name exists at every moment: the
// link is made under the other name, and the two are exchanged. If the file system cannot
// exchange, the file gets its second name first, and a new link is then moved over the first name.
func (m *image) putLink(path string) error {
	self := m.cfg.Self()
	aside, spare := Aside(path), Aside(Aside(path))
	if err := m.symlink(self, aside); err != nil {
		return err
	}
	err := m.swap(aside, path)
	if !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	if err := m.remove(aside); err != nil {
		return err
	}
	if err := m.link(path, aside); err != nil {
		return err
	}
	if err := m.symlink(self, spare); err != nil {
		return err
	}
	return m.rename(spare, path)
}
