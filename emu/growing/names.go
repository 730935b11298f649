package growing

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"binproxy/emu/sys"
)

// Names changes names in directories, in some of which others may be able to write. Each directory
// is looked up once, stays open, and everything in it goes through its descriptor. On the way
// there, a link is followed only if nobody else can have put it there. The zero value is ready.
type Names struct{ dirs map[string]*os.File }

// Close closes the directories.
func (n *Names) Close() {
	for _, dir := range n.dirs {
		dir.Close()
	}
	n.dirs = nil
}

// Dir is the directory at an absolute path (O_PATH).
func (n *Names) Dir(path string) (*os.File, error) {
	if dir := n.dirs[path]; dir != nil {
		return dir, nil
	}
	fd, err := walk(path)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	if n.dirs == nil {
		n.dirs = map[string]*os.File{}
	}
	n.dirs[path] = os.NewFile(uintptr(fd), path)
	return n.dirs[path], nil
}

// maxLinks is how many links the kernel follows in one path (MAXSYMLINKS).
const maxLinks = 40

// refusal is an error that costs nothing before main.
type refusal string

func (r refusal) Error() string { return string(r) }

const errLink = refusal("somebody else may have put the link there that leads to it")

// walk opens a directory name by name.
func walk(path string) (int, error) {
	fd, trusted, err := top()
	names := strings.Split(path, "/")
	for links := 0; err == nil && len(names) > 0; {
		name := names[0]
		names = names[1:]
		if name == "" {
			continue
		}
		var st unix.Stat_t
		var next int
		if next, err = step(fd, name, &st); err != nil {
			break
		}
		if st.Mode&unix.S_IFMT != unix.S_IFLNK {
			unix.Close(fd)
			fd, trusted = next, trusted && ours(&st)
			continue
		}
		var text string
		text, err = readLink(next)
		unix.Close(next)
		if links++; err == nil && (!trusted || !isOurs(st.Uid) || links > maxLinks) {
			err = errLink
		}
		names = append(strings.Split(text, "/"), names...)
		if err == nil && strings.HasPrefix(text, "/") {
			unix.Close(fd)
			fd, trusted, err = top()
		}
	}
	if err != nil && fd >= 0 {
		unix.Close(fd)
	}
	return fd, err
}

// step opens a directory or a link.
func step(dir int, name string, st *unix.Stat_t) (int, error) {
	fd, err := sys.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return -1, err
	}
	err = unix.Fstat(fd, st)
	if kind := st.Mode & unix.S_IFMT; err == nil && kind != unix.S_IFDIR && kind != unix.S_IFLNK {
		err = unix.ENOTDIR
	}
	if err != nil {
		unix.Close(fd)
	}
	return fd, err
}

func top() (fd int, trusted bool, err error) {
	var st unix.Stat_t
	if fd, err = sys.Open("/", unix.O_PATH|unix.O_DIRECTORY); err == nil {
		err = unix.Fstat(fd, &st)
	}
	return fd, ours(&st), err
}

func readLink(fd int) (string, error) {
	var text [unix.PathMax]byte
	n, err := unix.Readlinkat(fd, "", text[:])
	return string(text[:max(n, 0)]), err
}

// ours reports whether nobody else can put names into the directory, or, if it is sticky, change
// ours there.
func ours(st *unix.Stat_t) bool {
	return isOurs(st.Uid) && (st.Mode&0o022 == 0 || st.Mode&unix.S_ISVTX != 0)
}

// isOurs reports whether a user is root or ourselves. In a user namespace, root may have another
// number: that of the owner of the root directory.
func isOurs(uid uint32) bool {
	if uid == 0 || uid == uint32(os.Geteuid()) {
		return true
	}
	var st unix.Stat_t
	return unix.Stat("/", &st) == nil && uid == st.Uid
}

// at is the directory of a name.
func (n *Names) at(path string) (dir int, name string, err error) {
	f, err := n.Dir(filepath.Dir(path))
	if err != nil {
		return -1, "", err
	}
	return int(f.Fd()), filepath.Base(path), nil
}

// one makes a change of one name.
func (n *Names) one(op, path string, change func(dir int, name string) error) error {
	dir, name, err := n.at(path)
	if err != nil {
		return err
	}
	if err := sys.Retry(func() error { return change(dir, name) }); err != nil {
		return &os.PathError{Op: op, Path: path, Err: err}
	}
	return nil
}

// two makes a change of two names.
func (n *Names) two(op, from, to string, change func(fromDir int, from string, toDir int, to string) error) error {
	fromDir, fromName, err := n.at(from)
	if err != nil {
		return err
	}
	toDir, toName, err := n.at(to)
	if err != nil {
		return err
	}
	if err := sys.Retry(func() error { return change(fromDir, fromName, toDir, toName) }); err != nil {
		return &os.LinkError{Op: op, Old: from, New: to, Err: err}
	}
	return nil
}

// Symlink is symlink(2).
func (n *Names) Symlink(text, path string) error {
	return n.one("symlink", path, func(dir int, name string) error { return unix.Symlinkat(text, dir, name) })
}

// Link is link(2). What it has linked must be looked at afterwards, under its new name.
func (n *Names) Link(from, to string) error {
	return n.two("link", from, to, func(fromDir int, from string, toDir int, to string) error {
		return unix.Linkat(fromDir, from, toDir, to, 0)
	})
}

// Rename is rename(2).
func (n *Names) Rename(from, to string) error { return n.two("rename", from, to, unix.Renameat) }

// Exchange swaps two names in one step. It is errors.ErrUnsupported if the file system or the
// kernel (before 3.15) cannot do that.
func (n *Names) Exchange(a, b string) error {
	return n.two("exchange", a, b, func(aDir int, a string, bDir int, b string) error {
		err := unix.Renameat2(aDir, a, bDir, b, unix.RENAME_EXCHANGE)
		if err == unix.EINVAL || err == unix.ENOSYS {
			return errors.ErrUnsupported
		}
		return err
	})
}

// Mkdir is mkdir(2).
func (n *Names) Mkdir(path string, mode uint32) error {
	return n.one("mkdir", path, func(dir int, name string) error { return unix.Mkdirat(dir, name, mode) })
}

// Remove removes a file, a link or an empty directory.
func (n *Names) Remove(path string) error {
	if dir := n.dirs[path]; dir != nil {
		dir.Close()
		delete(n.dirs, path)
	}
	return n.one("remove", path, func(dir int, name string) error {
		err := unix.Unlinkat(dir, name, 0)
		if err == unix.EISDIR {
			err = unix.Unlinkat(dir, name, unix.AT_REMOVEDIR)
		}
		return err
	})
}

// Open opens a regular file for reading.
func (n *Names) Open(path string) (*os.File, error) {
	fd := -1
	err := n.one("open", path, func(dir int, name string) (err error) {
		var st unix.Stat_t
		fd, err = sys.Openat(dir, name, unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY)
		if err == nil {
			err = unix.Fstat(fd, &st)
		}
		if err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
			unix.Close(fd)
			err = unix.EINVAL
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// SetModTime sets the modification time of a directory.
func (n *Names) SetModTime(path string, t time.Time) error {
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, unix.NsecToTimespec(t.UnixNano())}
	return n.one("utimensat", path+"/.", func(dir int, name string) error { return unix.UtimesNanoAt(dir, name, times, 0) })
}

// List opens a directory for reading.
func (n *Names) List(path string) (*os.File, error) {
	fd := -1
	err := n.one("open", path+"/.", func(dir int, name string) (err error) {
		fd, err = sys.Openat(dir, name, unix.O_DIRECTORY)
		return err
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}
