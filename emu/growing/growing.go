// Package growing makes directories in a directory that others may be able to write to.
//
// Such a user can replace every name on the way there, at any moment. Whoever uses the name a
// second time may then reach another place. So each name is used once. The growing directory and
// the one that contains it stay open, and everything else goes through their descriptors. Opening
// the name does not follow a link, and refuses another user's directory and one that is not empty.
// A root without /proc, which nobody but root can enter, has no paths of descriptors: there the
// names are used.
package growing

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"binproxy/emu/sys"
)

// Dir is a directory in progress, and the directory that contains it.
type Dir struct {
	in, dir *os.File
	name    string
}

// Make makes the directory at path, in which only its owner can write.
func Make(path string) (*Dir, error) {
	return start(path, func(in *os.File, name string) (string, error) {
		return name, os.Mkdir(sys.FDPath(in)+"/"+name, 0o755)
	})
}

// MakeBeside makes one with a name of its own beside its final place. Only its owner can read it.
func MakeBeside(path string) (*Dir, error) {
	return start(path, func(in *os.File, name string) (string, error) {
		made, err := os.MkdirTemp(sys.FDPath(in), "."+name+".")
		return filepath.Base(made), err
	})
}

func start(path string, mkdir func(in *os.File, name string) (string, error)) (*Dir, error) {
	g, err := at(path)
	if err != nil {
		return nil, err
	}
	name, err := mkdir(g.in, g.name)
	if err != nil {
		err = g.error("mkdir", sys.Errno(err))
	} else {
		g.name = name
		err = g.open()
	}
	if err == nil && !g.isEmpty() {
		err = g.error("make", errors.New("somebody put another directory there"))
	}
	if err != nil {
		g.Close()
		return nil, err
	}
	return g, nil
}

// Open opens the directory that an earlier run made at path.
func Open(path string) (*Dir, error) {
	g, err := at(path)
	if err != nil {
		return nil, err
	}
	if err := g.open(); err != nil {
		g.Close()
		return nil, err
	}
	return g, nil
}

func at(path string) (*Dir, error) {
	path = filepath.Clean(path)
	fd, err := sys.Open(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: filepath.Dir(path), Err: err}
	}
	return &Dir{in: os.NewFile(uintptr(fd), filepath.Dir(path)), name: filepath.Base(path)}, nil
}

// open uses the name for the last time: it must mean a directory of ours.
func (g *Dir) open() error {
	fd, err := sys.Openat(int(g.in.Fd()), g.name, unix.O_DIRECTORY|unix.O_NOFOLLOW)
	if err != nil {
		return g.error("open", err)
	}
	g.dir = os.NewFile(uintptr(fd), filepath.Join(g.in.Name(), g.name))
	uid, err := owner(g.dir)
	if err == nil && uid != uint32(os.Geteuid()) && uid != g.madeBy() {
		err = fmt.Errorf("it is a directory of user %d's", uid)
	}
	if err != nil {
		return g.error("open", err)
	}
	return nil
}

func owner(f *os.File) (uint32, error) {
	var st unix.Stat_t
	err := unix.Fstat(int(f.Fd()), &st)
	return st.Uid, err
}

// madeBy is the owner of what we make: on some file systems (a network's, Windows') another user.
func (g *Dir) madeBy() uint32 {
	f, err := os.CreateTemp(sys.FDPath(g.dir), "")
	if err != nil {
		return uint32(os.Geteuid())
	}
	defer f.Close()
	defer os.Remove(f.Name())
	uid, _ := owner(f)
	return uid
}

func (g *Dir) error(op string, err error) error {
	return &os.PathError{Op: op, Path: filepath.Join(g.in.Name(), g.name), Err: err}
}

func (g *Dir) isEmpty() bool {
	names, err := os.ReadDir(g.Path())
	return len(names) == 0 && err == nil
}

// Path leads to the directory, whatever its name leads to by now. It is valid for this process,
// but not for its children.
func (g *Dir) Path() string { return sys.FDPath(g.dir) + "/." }

// Beside is the path of a name beside the directory, valid only for this process.
func (g *Dir) Beside(name string) string { return sys.FDPath(g.in) + "/" + name }

// Put moves the entry from of the directory to the name to beside it. It replaces a file or an
// empty directory, if there is one.
func (g *Dir) Put(from, to string) error {
	if err := os.Rename(sys.FDPath(g.dir)+"/"+from, g.Beside(to)); err != nil {
		return g.error("put "+from+" beside", sys.Errno(err))
	}
	return nil
}

// Place moves the directory itself to a name beside it. It replaces a directory there, which is
// removed.
func (g *Dir) Place(name string) error {
	from, to := g.Beside(g.name), g.Beside(name)
	err := os.Rename(from, to) // takes the place of an empty directory, too
	if errors.Is(err, fs.ErrExist) {
		if err = sys.Exchange(from, to); errors.Is(err, errors.ErrUnsupported) {
			if err = os.RemoveAll(to); err == nil {
				err = os.Rename(from, to)
			}
		}
	}
	if err != nil {
		return g.error("put in place", sys.Errno(err))
	}
	g.dir.Close()
	g.dir = nil
	return os.RemoveAll(from) // the earlier one, whoever owns it
}

// Remove removes the directory with its entries; the entry last is removed last.
func (g *Dir) Remove(last string) error {
	if g.dir == nil {
		return nil // it is in its place
	}
	in, err := os.OpenRoot(sys.FDPath(g.dir))
	if err != nil {
		return err
	}
	defer in.Close()
	entries, err := os.ReadDir(g.Path())
	for _, e := range entries {
		if e.Name() != last {
			err = errors.Join(err, in.RemoveAll(e.Name()))
		}
	}
	if err == nil && last != "" {
		err = in.RemoveAll(last)
	}
	if err != nil {
		return err
	}
	if err := unix.Unlinkat(int(g.in.Fd()), g.name, unix.AT_REMOVEDIR); err != nil && err != unix.ENOENT {
		return g.error("remove", err)
	}
	return nil
}

// Close closes the descriptors; the directory stays.
func (g *Dir) Close() {
	g.in.Close()
	if g.dir != nil {
		g.dir.Close()
	}
}
