package farm

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"binproxy/emu/config"
	"binproxy/emu/exit"
	"binproxy/emu/sys"
)

// Cleaned is what Clean did.
type Cleaned struct {
	Restored int // files put back in their place
	Links    int // farm links removed
	Remarks  []string
}

// ErrNoBundle means that the program is not in a bundle. It cannot install from there, and Clean
// must not remove it.
const ErrNoBundle = exit.Sentinel("no " + config.Name + " beside it, so this is no bundle; nothing was changed")

// Clean removes everything that Install made, and then the bundle with the program itself.
func Clean(cfg config.Config) (Cleaned, error) {
	if err := NeedBundle(cfg); err != nil {
		return Cleaned{}, err
	}
	m, err := open(context.Background(), cfg, "")
	if err != nil {
		return Cleaned{}, err
	}
	defer m.close()
	if err := m.cleanable(); err != nil {
		return Cleaned{}, err
	}
	var done Cleaned
	if m.journal.isEmpty() {
		m.remark("nothing was installed")
	}
	err = m.clean(&done)
	done.Remarks = m.remarks
	return done, err
}

func (m *image) clean(done *Cleaned) error {
	for _, place := range m.journal.places {
		if leadsTo(place, m.cfg.Self()) || exists(Aside(place)) || exists(Aside(Aside(place))) {
			if err := m.touch(filepath.Dir(place)); err != nil {
				return err
			}
		}
	}
	for _, place := range m.journal.places {
		if leadsTo(place, m.cfg.Self()) {
			done.Restored++
		}
		if err := m.takeOut(place); err != nil {
			return err
		}
	}
	if err := m.relink(); err != nil {
		return err
	}
	for _, farm := range m.cfg.AllFarms() {
		if err := m.removeFarm(farm, done); err != nil {
			return err
		}
	}
	changed := sorted(m.journal.mtimes)
	if err := m.settle(); err != nil {
		return err
	}
	if m.journal.damaged {
		return cmp.Or[error](m.journal.write(), &DamagedError{m.journal.path, m.cfg.Self()})
	}
	for _, dir := range changed { // what was done there reaches the disk before the journal goes
		if err := m.sync(dir); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
			return err
		}
	}
	m.journal.pending = ""
	return m.removeBundle()
}

// cleanable finds what would fail before the first change is made.
func (m *image) cleanable() error {
	dirs := []string{m.cfg.Dir, filepath.Dir(m.cfg.Dir)}
	for _, place := range m.journal.places {
		if dir := filepath.Dir(place); exists(Aside(place)) && !slices.Contains(dirs, dir) {
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

// takeOut puts the real file back in its place, wherever a killed run left it.
func (m *image) takeOut(place string) error {
	aside := Aside(place)
	kept := exists(aside) && !leadsTo(aside, m.cfg.Self())
	if !leadsTo(place, m.cfg.Self()) {
		return m.clearAside(place, "kept")
	}
	if err := m.touch(filepath.Dir(place)); err != nil {
		return err
	}
	if kept {
		return m.rename(aside, place)
	}
	m.remark("%s: the file that was kept for it (%s) is not there any more", display(place), display(aside))
	return m.remove(place)
}

// clearAside removes what has the real file's name aside while the name itself does not lead to
// binproxy: a link that was to be exchanged, a second name of the same file, or the file of a
// command that was replaced or removed since.
func (m *image) clearAside(place, becomes string) error {
	for _, aside := range []string{Aside(Aside(place)), Aside(place)} {
		if !exists(aside) {
			continue
		}
		if err := m.touch(filepath.Dir(place)); err != nil {
			return err
		}
		if !leadsTo(aside, m.cfg.Self()) && !sameFile(aside, place) && !m.journal.relinks[place] {
			if kept, err := m.moved(place, aside); kept || err != nil {
				return err
			}
			if exists(place) {
				m.remark("%s: was replaced by a newer file since: the newer one is %s", display(place), becomes)
			} else {
				m.remark("%s: was removed since: it stays removed", display(place))
			}
		}
		if err := m.remove(aside); err != nil {
			return err
		}
	}
	return nil
}

// ownName recognises links to binproxy that people make, and that are no renamed command.
func ownName(name string) bool { return name == config.Binary || name == "sh" || name == "uname" }

// moved puts the real file where its link was moved to. If several links are possible, the file
// gets its old name back, or stays where it is if that name is taken, so that it is not lost.
func (m *image) moved(place, aside string) (bool, error) {
	strays, err := m.strays(filepath.Dir(place))
	strays = slices.DeleteFunc(strays, func(stray string) bool { return m.isAnothers(place, stray) })
	if err != nil || len(strays) == 0 {
		return false, err
	}
	if to := renamed(place, strays, m.alone(place)); to != "" {
		m.remark("%s: was renamed to %s since: the file is there now", display(place), display(to))
		return true, m.rename(aside, to)
	}
	if exists(place) {
		m.remark("%s: was replaced since, or renamed to one of %s: its old file is kept as %s", display(place), displayAll(strays), display(aside))
		return true, nil
	}
	m.remark("%s: was removed since, or renamed to one of %s: the file has its old name again", display(place), displayAll(strays))
	return true, m.rename(aside, place)
}

// strays are the links in a directory that lead to binproxy and have no file.
func (m *image) strays(dir string) (found []string, err error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if leadsTo(path, m.cfg.Self()) && !IsAside(path) && !exists(Aside(path)) && !ownName(e.Name()) {
			found = append(found, path)
		}
	}
	return found, err
}

// alone reports whether no other place in the directory has lost its link: otherwise a stray link
// may be that place's.
func (m *image) alone(place string) bool {
	return !slices.ContainsFunc(m.journal.places, func(other string) bool { return m.alsoLost(place, other) })
}

// alsoLost reports whether another place in place's directory has lost its link.
func (m *image) alsoLost(place, other string) bool {
	aside := Aside(other)
	return other != place && filepath.Dir(other) == filepath.Dir(place) && exists(aside) && !leadsTo(other, m.cfg.Self()) &&
		!leadsTo(aside, m.cfg.Self()) && !sameFile(aside, other)
}

// isAnothers reports whether a stray link is that of another place, by its suffix.
func (m *image) isAnothers(place, stray string) bool {
	return !suffixed(place, stray) && slices.ContainsFunc(m.journal.places, func(other string) bool {
		return suffixed(other, stray) && m.alsoLost(place, other)
	})
}

// suffixed reports whether name is the old one with a suffix, as dpkg-divert and people choose it.
func suffixed(old, name string) bool {
	ending, ok := strings.CutPrefix(name, old)
	return ok && strings.IndexAny(ending, ".-_~") == 0
}

// renamed is the stray link that was once at place: the only one, if that is alone, or the only
// one with a suffix after the old name (date.orig, dash.distrib); "" if it cannot be determined.
func renamed(place string, strays []string, alone bool) string {
	if len(strays) == 1 && alone {
		return strays[0]
	}
	like := slices.DeleteFunc(slices.Clone(strays), func(stray string) bool { return !suffixed(place, stray) })
	if len(like) == 1 {
		return like[0]
	}
	return ""
}

func displayAll(names []string) string {
	var shown []string
	for _, name := range names {
		shown = append(shown, display(name))
	}
	return strings.Join(shown, ", ")
}

// dropAsides removes files kept aside that no link stands for any more: their commands were
// removed or replaced since.
func (m *image) dropAsides() error {
	for _, place := range m.journal.places {
		if !leadsTo(place, m.cfg.Self()) {
			if err := m.clearAside(place, "kept"); err != nil {
				return err
			}
		}
	}
	return nil
}

// relink makes the hard links of a file one file again.
func (m *image) relink() error {
	stays := map[int64]string{}  // the first name of each group
	first := map[string]string{} // by the names that are to become links to it
	for _, path := range sorted(m.journal.groups) {
		n := m.journal.groups[path]
		if fi, err := os.Lstat(path); n == 0 || err != nil || !fi.Mode().IsRegular() {
			continue
		}
		if stays[n] == "" {
			stays[n] = path
			continue
		}
		parted, err := m.parted(stays[n], path)
		if err != nil {
			return err
		}
		if parted {
			m.journal.add(record{verb: verbRelink, path: path})
			first[path] = stays[n]
		}
	}
	for _, name := range sorted(first) {
		if err := m.relinkTo(first[name], name); err != nil {
			return err
		}
	}
	return nil
}

// parted reports whether two files were one, and are now copies of each other.
func (m *image) parted(first, name string) (bool, error) {
	if sameFile(first, name) {
		return false, nil
	}
	same, err := m.identical(first, name)
	if err != nil || !same {
		m.remark("%s: was a hard link of %s, and differs now: left as it is", display(name), display(first))
	}
	return same, err
}

func (m *image) relinkTo(first, name string) error {
	if err := m.clearAside(name, "kept"); err != nil { // of a run that was killed here
		return err
	}
	if err := m.touch(filepath.Dir(name)); err != nil {
		return err
	}
	aside := Aside(name)
	if err := m.link(first, aside); err != nil {
		return err
	}
	// Only now can nobody exchange the file who could not write to this directory.
	if same, err := m.identical(aside, name); !same {
		return cmp.Or(err, m.remove(aside))
	}
	return m.rename(aside, name)
}

// endRelinks ends what a killed clean has begun, before any file is kept aside again. The clean's
// records say that a file aside is the second name of another, and not the only one.
func (m *image) endRelinks() error {
	names := sorted(m.journal.relinks)
	for _, name := range names {
		if !leadsTo(name, m.cfg.Self()) {
			if err := m.clearAside(name, "kept"); err != nil {
				return err
			}
		}
	}
	for _, name := range names {
		m.journal.add(record{verb: verbRelinked, path: name})
	}
	return nil
}

func sameFile(a, b string) bool {
	fa, errA := os.Lstat(a)
	fb, errB := os.Lstat(b)
	return errA == nil && errB == nil && os.SameFile(fa, fb)
}

// identical reports whether two files have the same bytes, owner, mode and time. So have hard
// links that a copy has separated.
func (m *image) identical(a, b string) (bool, error) {
	fa, err := m.names.Open(a)
	if err != nil {
		return false, err
	}
	defer fa.Close()
	fb, err := m.names.Open(b)
	if err != nil {
		return false, err
	}
	defer fb.Close()
	ia, errA := fa.Stat()
	ib, errB := fb.Stat()
	if err := errors.Join(errA, errB); err != nil {
		return false, err
	}
	sa, sb := ia.Sys().(*syscall.Stat_t), ib.Sys().(*syscall.Stat_t)
	if ia.Mode() != ib.Mode() || ia.Size() != ib.Size() || !ia.ModTime().Equal(ib.ModTime()) || sa.Uid != sb.Uid || sa.Gid != sb.Gid {
		return false, nil
	}
	return sameBytes(fa, fb, ia.Size())
}

// sameBytes compares two files of that size.
func sameBytes(a, b *os.File, size int64) (bool, error) {
	var ta, tb [1 << 16]byte
	for size > 0 {
		n := min(size, int64(len(ta)))
		if _, err := io.ReadFull(a, ta[:n]); err != nil {
			return false, err
		}
		if _, err := io.ReadFull(b, tb[:n]); err != nil {
			return false, err
		}
		if !bytes.Equal(ta[:n], tb[:n]) {
			return false, nil
		}
		size -= n
	}
	return true, nil
}

// removeBundle removes the bundle's files, the program and the configuration last, and then the
// directory if it has no other files. The directory above keeps its time.
func (m *image) removeBundle() error {
	parent, err := os.Stat(filepath.Dir(m.cfg.Dir))
	if err != nil {
		return err
	}
	for _, path := range m.bundleFiles() {
		if err := m.remove(path); err != nil && !errors.Is(err, syscall.ENOTEMPTY) {
			return err
		}
	}
	entries, err := os.ReadDir(m.cfg.Dir)
	if err != nil {
		return err
	}
	foreign := 0
	for _, e := range entries {
		if e.Name() != config.Binary && e.Name() != config.Name {
			foreign++
			m.remark("%s: no part of the bundle: kept", display(filepath.Join(m.cfg.Dir, e.Name())))
		}
	}
	for _, name := range []string{config.Binary, config.Name} {
		if err := m.remove(filepath.Join(m.cfg.Dir, name)); err != nil {
			return err
		}
	}
	if foreign > 0 {
		return nil
	}
	if err := m.remove(m.cfg.Dir); err != nil {
		m.remark("%s: is empty now, but stays: %s", display(m.cfg.Dir), plain(err))
		return nil
	}
	return m.setMtime(filepath.Dir(m.cfg.Dir), parent.ModTime())
}

// bundleFiles lists what belongs to the bundle besides program and configuration, each directory
// after its files.
func (m *image) bundleFiles() []string {
	var files []string
	for _, e := range m.cfg.Emulators {
		if e.Loader != "" && filepath.IsLocal(e.Loader) && filepath.Dir(e.Loader) != "." {
			lib := filepath.Join(m.cfg.Dir, filepath.Dir(e.Loader))
			entries, _ := os.ReadDir(lib)
			for _, entry := range entries {
				files = append(files, filepath.Join(lib, entry.Name()))
			}
			files = append(files, lib)
		}
		if filepath.IsLocal(e.Path) {
			files = append(files, filepath.Join(m.cfg.Dir, e.Path))
		}
	}
	files = append(files, preloadFiles(filepath.Join(m.cfg.Dir, config.PreloadDir))...)
	entries, _ := os.ReadDir(m.cfg.Dir)
	for _, entry := range entries {
		if path := filepath.Join(m.cfg.Dir, entry.Name()); leadsTo(path, m.cfg.Self()) {
			files = append(files, path)
		}
	}
	return append(files, filepath.Join(m.cfg.Dir, config.Name+".new"), m.journal.path)
}

// preloadFiles are the preload route's files: libraries and relative links in a directory for each
// ABI.
func preloadFiles(dir string) []string {
	var files []string
	abis, _ := os.ReadDir(dir)
	for _, abi := range abis {
		sub := filepath.Join(dir, abi.Name())
		entries, _ := os.ReadDir(sub)
		for _, entry := range entries {
			path := filepath.Join(sub, entry.Name())
			text, err := os.Readlink(path)
			if filepath.Ext(path) == ".so" || err == nil && (text == "." || filepath.Dir(text) == "..") {
				files = append(files, path)
			}
		}
		files = append(files, sub)
	}
	return append(files, dir)
}
