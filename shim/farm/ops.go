package farm

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"binproxy/emu/config"
	"binproxy/emu/growing"
)

// This file makes every change of the file system, after the journal's records are synced. It goes
// by the directories' descriptors: decisions look at paths, and somebody who can write to a
// directory can have them wrong, but only about what is in his own. Tests stop the process before
// each change (step), remove the atomic exchange (exchange), which some file systems lack, and
// record what is synced instead of waiting for the disk (fsync).
var (
	step     = func() {}
	exchange = (*growing.Names).Exchange
	fsync    = (*os.File).Sync
)

// begin is called before each change.
func (m *image) begin() error {
	err := m.journal.flush()
	if err == nil {
		step()
	}
	return err
}

// name makes a change with two names: of a link's text, a link, or a file.
func (m *image) name(change func(from, to string) error, from, to string) error {
	if err := m.begin(); err != nil {
		return err
	}
	return change(from, to)
}

func (m *image) symlink(target, path string) error { return m.name(m.names.Symlink, target, path) }
func (m *image) link(from, to string) error        { return m.name(m.names.Link, from, to) }
func (m *image) rename(from, to string) error      { return m.name(m.names.Rename, from, to) }

func (m *image) swap(a, b string) error {
	return m.name(func(a, b string) error { return exchange(&m.names, a, b) }, a, b)
}

func (m *image) makeDir(path string) error {
	if err := m.begin(); err != nil {
		return err
	}
	return m.names.Mkdir(path, 0o755)
}

func (m *image) save(cfg config.Config) error {
	if err := m.begin(); err != nil {
		return err
	}
	return cfg.Save()
}

// remove removes a file, a link or an empty directory; a missing one is no error.
func (m *image) remove(path string) error {
	if err := m.begin(); err != nil {
		return err
	}
	if err := m.names.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// setMtime changes the modification time of a directory only. If the name means something else
// now, that stays as it is.
func (m *image) setMtime(path string, mtime time.Time) error {
	if fi, err := os.Lstat(path); err != nil || !fi.IsDir() {
		return nil
	}
	if err := m.begin(); err != nil {
		return err
	}
	return m.names.SetModTime(path, mtime)
}

// sync has what was done in a directory on the disk.
func (m *image) sync(dir string) error {
	f, err := m.names.List(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return fsync(f)
}

// exists reports whether the name exists, also as a dangling link.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// leadsTo reports whether path is a symbolic link with that text.
func leadsTo(path, target string) bool {
	text, err := os.Readlink(path)
	return err == nil && beside(path, text) == target
}

// within reports whether path is dir or is below it.
func within(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}
