// Package growing makes directories in a directory that others may be able to write to.
//
// Such a user can exchange every name on the way there, at any moment, and so lead whoever uses
// the name a second time to another place. So each name is used once. The directory that grows
// and the one that holds it stay open, and everything else goes through their descriptors. When
// the name is opened, a link is not followed, and a directory of another user, or one with
// something in it, is refused.
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

// Dir is a directory in progress, and the one that holds it.
type Dir struct {
	in, dir *os.File
	name    string
}

// Make makes the directory at path, which only its owner can write in.
func Make(path string) (*Dir, error) {
	return start(path, func(in *os.File, name string) (string, error) {
		return name, os.Mkdir(sys.FDPath(in)+"/"+name, 0o755)
	})
}

// MakeBeside makes one with a name of its own, which only its owner can read, beside what it is to
// become.
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

// Open opens the one that an earlier run made at path.
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

// open takes the name for the last time: what it stands for must be a directory of ours.
func (g *Dir) open() error {
	fd, err := sys.Openat(int(g.in.Fd()), g.name, unix.O_DIRECTORY|unix.O_NOFOLLOW)
	if err != nil {
		return g.error("open", err)
	}
	g.dir = os.NewFile(uintptr(fd), g.name)
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

// madeBy is who has what we make: on some file systems (a network's, Windows') somebody else.
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

// Path leads to the directory, whatever its name leads to by now. It is a path for this process,
// and not for its children.
func (g *Dir) Path() string { return sys.FDPath(g.dir) + "/." }

// Beside is the path of a name beside the directory, for this process alone.
func (g *Dir) Beside(name string) string { return sys.FDPath(g.in) + "/" + name }

// Put gives what is called from in the directory the name to beside it, and takes the place of
// nothing, of a file or of an empty directory.
func (g *Dir) Put(from, to string) error {
	if err := os.Rename(sys.FDPath(g.dir)+"/"+from, g.Beside(to)); err != nil {
		return g.error("put "+from+" beside", sys.Errno(err))
	}
	return nil
}

// Place gives the directory itself the name beside it, in the place of nothing or of a directory,
// which is removed.
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
	return os.RemoveAll(from) // the earlier one, of whoever it is
}

// Remove removes it, with what is in it; what is called last goes last.
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

// Close gives the descriptors back; the directory stays.
func (g *Dir) Close() {
	g.in.Close()
	if g.dir != nil {
		g.dir.Close()
	}
}
