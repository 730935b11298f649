// Package packages knows what the package database of a root directory says of a file: which
// package brought it, in which version, and with which checksum.
//
// The databases are read as files, without the programs they belong to: dpkg's and apk's are text;
// rpm's is one of three formats, each with the same headers of packages in it (SQLite since
// rpm 4.16, Berkeley DB before, ndb on SUSE). They are the guest's, and may hold anything: no
// reader trusts a length or an offset, none keeps more in memory than the file has, and none waits
// for a lock, which a guest may hold for as long as it likes.
package packages

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"syscall"

	"binproxy/emu/arch"
)

// The kinds of package databases.
const (
	Dpkg = "dpkg"
	Apk  = "apk"
	Rpm  = "rpm"
)

// Database is that of a root directory. Kind is "" where it has none that is known.
type Database struct {
	Kind string
	root Root
}

// ErrUnknown means that no package brought the file. Like the other errors of this package it can
// follow "the guest's ".
var ErrUnknown = errors.New("package database does not know it")

var errNone = errors.New("package database is not one of dpkg, apk or rpm")

// unreadable is the error for a database that is there.
func unreadable(file string, err error) error {
	if in, ok := err.(*fs.PathError); ok {
		err = in.Err
	}
	return fmt.Errorf("package database %s cannot be read: %w", file, err)
}

// Of finds the database of a root.
func Of(root Root) Database {
	for _, d := range []struct {
		kind  string
		files []string
	}{{Dpkg, []string{dpkgDir + "status"}}, {Apk, apkFiles[:]}, {Rpm, rpmFiles()}} {
		if f, _, err := openFirst(root, d.files); err == nil {
			f.Close()
			return Database{d.kind, root}
		} else if !missing(err) {
			return Database{d.kind, root} // which Owner will say
		}
	}
	return Database{root: root}
}

// At is the database of a root whose kind is known.
func At(kind string, root Root) Database { return Database{kind, root} }

// Owner finds the package, one of those named, that brought the file. Where names is nil, any may
// have. The ABI matters to dpkg, which may have a package for several.
func (d Database) Owner(file string, names []string, abi *arch.ABI) (Owner, error) {
	if d.Kind == Dpkg && names != nil {
		return dpkgOwner(d.root, file, names, abi)
	}
	owners, err := d.owners([]string{file}, names, abi)
	if o, ok := owners[file]; ok {
		return o, nil
	}
	if err == nil {
		err = ErrUnknown
	}
	return Owner{}, err
}

// Owners finds the packages of files. What no package brought is left out.
func (d Database) Owners(files []string, abi *arch.ABI) (map[string]Owner, error) {
	return d.owners(files, nil, abi)
}

func (d Database) owners(files, names []string, abi *arch.ABI) (map[string]Owner, error) {
	s := newSearch(files, names)
	var err error
	switch d.Kind {
	case Dpkg:
		err = s.dpkg(d.root, abi)
	case Apk:
		err = s.apk(d.root)
	case Rpm:
		err = s.rpm(d.root)
	default:
		err = errNone
	}
	return s.found, err
}

// search is a walk through a database that looks for several files at once.
type search struct {
	files map[string]string // the file that is asked for, by every name a database may have for it
	bases map[string]bool   // the last parts of those names
	names []string          // of packages; nil: all
	count int               // how many files are asked for
	found map[string]Owner
}

func newSearch(files, names []string) *search {
	s := &search{files: map[string]string{}, bases: map[string]bool{}, names: names, found: map[string]Owner{}}
	for _, file := range files {
		s.bases[path.Base(file)] = true
		for _, name := range aliases(file) {
			s.files[name] = file
		}
	}
	s.count = len(files)
	return s
}

func (s *search) done() bool { return len(s.found) >= s.count }

// missing reports whether the error of opening a file is that it is not there.
func missing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}
