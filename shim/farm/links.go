package farm

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// This file handles the farm itself: its directories and links are made, dropped and removed here.

func (m *image) makeFarm(farm string) error {
	if !slices.Contains(m.cfg.AllFarms(), farm) {
		before := m.cfg
		m.cfg.Farms = append(slices.Clone(m.cfg.Farms), farm)
		m.scan.cfg, m.scan.root.Farms = m.cfg, m.cfg.AllFarms()
		if err := m.save(m.cfg); err != nil {
			return err
		}
		m.did(func() error { return m.save(before) })
	}
	switch {
	case exists(farm) && !m.journal.isEmpty():
		return nil
	case exists(farm):
		return m.touch(farm) // a journal without records would count as lost
	}
	m.journal.add(record{verb: verbFarm, path: farm})
	if !within(farm, m.cfg.Dir) {
		if err := m.touch(filepath.Dir(farm)); err != nil {
			return err
		}
	}
	return m.mkdir(farm)
}

func (m *image) mkdir(dir string) error {
	if err := m.makeDir(dir); err != nil {
		return err
	}
	m.did(func() error { return m.remove(dir) })
	return nil
}

// mkdirs makes a directory of the farm and those above it; the farm itself exists.
func (m *image) mkdirs(dir string) error {
	if exists(dir) {
		return m.touchFarm(dir)
	}
	if err := m.mkdirs(filepath.Dir(dir)); err != nil {
		return err
	}
	return m.mkdir(dir)
}

// touchFarm records the time of a directory that clean leaves: one of a farm that existed before
// install, or the one above a farm.
func (m *image) touchFarm(dir string) error {
	own := func(top string) bool { return within(dir, top) }
	if own(m.cfg.Dir) || slices.ContainsFunc(m.journal.farms, own) {
		return nil
	}
	return m.touch(dir)
}

// makeLinks makes the farm's links: first the directories that are links in the image, then a link
// for each command.
func (m *image) makeLinks(farm string, p *plan, done *Installed) error {
	for _, dir := range slices.Sorted(maps.Keys(p.mirrors)) {
		to, err := filepath.Rel(filepath.Dir(farm+dir), farm+p.mirrors[dir])
		if err != nil {
			return err
		}
		if _, err := m.farmLink(farm, to, farm+dir); err != nil {
			return err
		}
	}
	for _, path := range p.links {
		added, err := m.farmLink(farm, m.cfg.Self(), farm+path)
		if err != nil {
			return err
		}
		if added {
			done.Added++
		}
	}
	done.Links = len(p.links)
	return nil
}

func (m *image) farmLink(farm, target, path string) (added bool, err error) {
	text, err := os.Readlink(path)
	another := err == nil
	if another && text == target || !another && exists(path) {
		return false, nil
	}
	if err := m.mkdirs(filepath.Dir(path)); err != nil {
		return false, err
	}
	if another {
		if gone, err := m.makeWay(farm, path, text); !gone || err != nil {
			return false, err
		}
	}
	if err := m.symlink(target, path); err != nil {
		return false, err
	}
	m.did(func() error { return m.remove(path) })
	return true, nil
}

// makeWay removes another link from the place of a farm's link. A link of install's is deleted,
// any other is kept for clean to restore. It reports whether the place is free now.
func (m *image) makeWay(farm, path, text string) (bool, error) {
	if m.farmsOwn(farm, path) {
		if err := m.remove(path); err != nil {
			return false, err
		}
		m.did(func() error { return m.symlink(text, path) })
		return true, nil
	}
	aside := Aside(path)
	if why := m.cannotPlace(path); why != "" {
		m.remark("%s: not made by install, and not replaced: %s", display(path), why)
		return false, nil
	}
	if exists(aside) {
		m.remark("%s: was replaced since: the link that it replaced is dropped", display(path))
	}
	if !m.journal.kept[path] {
		m.journal.add(record{verb: verbKept, path: path})
	}
	if err := m.rename(path, aside); err != nil {
		return false, err
	}
	m.did(func() error { return m.rename(aside, path) })
	return true, nil
}

// dropLinks removes the farm's links whose guest is gone, or is no guest any more.
func (m *image) dropLinks(farm string, done *Installed) error {
	links, err := m.farmLinks(farm)
	if err != nil {
		return err
	}
	for _, link := range links {
		if f, ok := m.scan.look(strings.TrimPrefix(link, farm)); ok && f.routed() {
			continue
		}
		if err := m.remove(link); err != nil {
			return err
		}
		done.Dropped++
	}
	return nil
}

// farmLinks lists the links of a farm that lead to binproxy.
func (m *image) farmLinks(farm string) (links []string, err error) {
	err = filepath.WalkDir(farm, func(path string, d fs.DirEntry, err error) error {
		if path == farm && errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && d.Type() == fs.ModeSymlink && leadsTo(path, m.cfg.Self()) {
			links = append(links, path)
		}
		return err
	})
	return links, err
}

// removeFarm removes the farm's links and then its empty directories. Everything else in it is not
// ours.
func (m *image) removeFarm(farm string, done *Cleaned) error {
	if !exists(farm) {
		return nil
	}
	for _, path := range sorted(m.journal.kept) {
		if within(path, farm) {
			if err := m.bringBack(farm, path, done); err != nil {
				return err
			}
		}
	}
	var dirs []string
	err := filepath.WalkDir(farm, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			dirs = append(dirs, path)
			return nil
		case d.Type() != fs.ModeSymlink || !m.farmsOwn(farm, path):
			m.remark("%s: not made by install: kept", display(path))
			return nil
		}
		if leadsTo(path, m.cfg.Self()) {
			done.Links++
		}
		return m.removeIn(path)
	})
	if err != nil {
		return err
	}
	for _, dir := range slices.Backward(dirs) {
		if dir == farm && !slices.Contains(m.journal.farms, farm) {
			continue
		}
		if err := m.removeIn(dir); err != nil && !errors.Is(err, syscall.ENOTEMPTY) {
			return err
		}
	}
	return nil
}

// removeIn removes an entry of a farm, or the farm. If the directory above stays, it keeps its
// time.
func (m *image) removeIn(path string) error {
	if err := m.touchFarm(filepath.Dir(path)); err != nil {
		return err
	}
	return m.remove(path)
}

// bringBack restores a link in the farm that install did not make, unless the place has been taken
// since.
func (m *image) bringBack(farm, path string, done *Cleaned) error {
	aside := Aside(path)
	if !exists(aside) {
		return nil
	}
	if exists(path) && !m.farmsOwn(farm, path) {
		m.remark("%s: was replaced since: the link that it replaced is dropped", display(path))
		return m.removeIn(aside)
	}
	if err := m.touchFarm(filepath.Dir(path)); err != nil {
		return err
	}
	if leadsTo(path, m.cfg.Self()) {
		done.Links++
	}
	return m.rename(aside, path)
}

// farmsOwn recognises a link that install made: to binproxy, or between mirrored directories.
func (m *image) farmsOwn(farm, path string) bool {
	text, err := os.Readlink(path)
	return err == nil && (leadsTo(path, m.cfg.Self()) || !filepath.IsAbs(text) && within(filepath.Join(filepath.Dir(path), text), farm))
}
