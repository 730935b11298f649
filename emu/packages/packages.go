// Package packages knows what the package database of a root directory says of a file: which
// package brought it, in which version, and with which checksum.
//
// It reads the databases as files, without the programs that they belong to. dpkg's and apk's are
// text. rpm's has one of three formats, each with the same headers of packages in it (SQLite since
// rpm 4.16, Berkeley DB before, ndb on SUSE). The files are the guest's, and may contain anything:
// no reader trusts a length or an offset, none keeps more in memory than the file has, and none
// waits for a lock, which a guest may hold for ever.
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

// Database is the database of a root directory. Kind is "" if the root has no known one.
type Database struct {
	Kind string
	root Root
}

// ErrUnknown means that no package brought the file. Like the other errors of this package, its
// text can follow "the guest's ".
var ErrUnknown = errors.New("package database does not know it")

var errNone = errors.New("package database is not one of dpkg, apk or rpm")

// unreadable is the error for a database that exists but cannot be read.
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
			return Database{d.kind, root} // Owner will report it
		}
	}
	return Database{root: root}
}

// At is the database of a root, with a known kind.
func At(kind string, root Root) Database { return Database{kind, root} }

// Owner finds the package that brought the file, among those named, or among all if names is nil.
// The ABI matters to dpkg, which may have a package for several.
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

// Owners finds the packages of files. It leaves out files that no package brought.
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
	files map[string]string // each file in question, by every name that a database may have for it
	bases map[string]bool   // the last parts of those names
	names []string          // of packages; nil: all
	count int               // how many files are in question
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

// missing reports whether a file could not be opened because it does not exist.
func missing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}
