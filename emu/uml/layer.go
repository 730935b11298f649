package uml

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"binproxy/emu/sys"
)

// A kept layer is a directory in --upper's. It has a tree of what the guest made or changed,
// for people to look at and to edit, and beside it a file of attributes. During a run the layer is
// always in a tmpfs of the guest, where root can use chown, mknod and extended attributes. By
// hostfs as an ordinary user it cannot, and a file of a guest's root with its set-user-ID bit
// would be the caller's on the host. So the tree has contents, links, times and plain modes, and a
// line of attributes has the rest of each entry (attributes.go).
const (
	layerName      = "layer"
	treeName       = "tree"
	attributesName = "attributes"
)

// upperDir is the overlay's layer in the guest.
const upperDir = "/layer/upper"

// restoreLayer restores a kept layer, and records where to keep this one. Both directories stay
// open across the change of the root.
func (g *guest) restoreLayer() error {
	if g.job.LayerDir == "" {
		return nil
	}
	if err := os.Mkdir("/layer/keep", 0o755); err != nil {
		return err
	}
	if err := mount("none", "/layer/keep", "hostfs", 0, jailKeep); err != nil {
		return err
	}
	var err error
	if g.keep, err = openDir("/layer/keep"); err != nil {
		return err
	}
	if g.upper, err = openDir(upperDir); err != nil {
		return err
	}
	kept := filepath.Join(g.keep, layerName)
	if _, err := os.Lstat(kept); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return wrap(readLayer(kept, g.upper), "restore the layer of --upper %s", g.job.LayerDir)
}

// openDir opens a directory and returns a path to it that stays valid after mounts and a change of
// the root.
func openDir(path string) (string, error) {
	fd, err := sys.Open(path, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return "", &os.PathError{Op: "open", Path: path, Err: err}
	}
	return "/proc/self/fd/" + strconv.Itoa(fd), nil
}

// saveLayer keeps the layer if it is to be kept. It writes it beside the earlier one, and then
// replaces that in one step.
func (g *guest) saveLayer() error {
	if g.keep == "" {
		return nil
	}
	// The command may have covered /proc; this one is ours.
	unix.Umask(0)
	kept := filepath.Join(g.keep, layerName)
	made := kept + ".new"
	err := os.RemoveAll(made) // left by a run that was killed
	if err == nil {
		err = writeLayer(g.upper, made)
	}
	if err == nil {
		err = replace(made, kept)
	}
	return wrap(errors.Join(err, os.RemoveAll(made)), "keep the layer in --upper %s", g.job.LayerDir)
}

// writeLayer writes the layer in a directory to another directory, which it makes.
func writeLayer(upper, kept string) error {
	tree := filepath.Join(kept, treeName)
	if err := os.MkdirAll(tree, 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(kept, attributesName), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(f)
	err = copyTree(upper, tree, func(name string, fi fs.FileInfo, linked bool) error {
		if linked { // the first link has its attributes
			return nil
		}
		a, err := attributesOf(below(upper, name), name, fi)
		if err == nil {
			_, err = fmt.Fprintln(out, a)
		}
		return err
	})
	return errors.Join(err, out.Flush(), f.Close())
}

// readLayer makes the layer below upper, which is empty, from a directory that writeLayer made and
// people may have changed since. What they added belongs to root; what they removed is not made.
func readLayer(kept, upper string) error {
	if err := copyTree(filepath.Join(kept, treeName), upper, nil); err != nil {
		return err
	}
	f, err := os.Open(filepath.Join(kept, attributesName))
	if err != nil {
		return err
	}
	defer f.Close()
	in := bufio.NewReader(f)
	for n := 1; ; n++ {
		line, err := in.ReadString('\n')
		if err == io.EOF && line == "" {
			return nil
		}
		a, err := parseAttributes(strings.TrimSuffix(line, "\n"))
		if err == nil {
			err = a.apply(upper)
		}
		if err != nil {
			return fmt.Errorf("%s, line %d: %w", attributesName, n, err)
		}
	}
}

// copyTree copies directories, files, symbolic and hard links from one directory to another, which
// exists, with their times and plain modes. The owner can read and write every copy. It skips
// other kinds of entries. each is called for every entry; linked means a further link to a file
// that was copied.
func copyTree(from, to string, each func(name string, fi fs.FileInfo, linked bool) error) error {
	first := map[uint64]string{} // inode -> the name of its first link
	type stamp struct {
		path string
		at   time.Time
	}
	var dirs []stamp // set last, because an entry made in a directory changes its time
	err := filepath.WalkDir(below(from, "."), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		fi, err := os.Lstat(path)
		if err != nil {
			return err
		}
		st := fi.Sys().(*syscall.Stat_t)
		before, linked := first[st.Ino]
		// An overlay's removal marks are links to one device.
		linked = linked && copied(fi.Mode()) && !fi.IsDir()
		if st.Nlink > 1 && !linked {
			first[st.Ino] = name
		}
		if each != nil {
			if err := each(name, fi, linked); err != nil {
				return err
			}
		}
		at := below(to, name)
		if fi.IsDir() {
			dirs = append(dirs, stamp{at, fi.ModTime()})
		}
		if linked {
			return os.Link(below(to, before), at)
		}
		return copyEntry(path, at, fi)
	})
	if err != nil {
		return err
	}
	for _, d := range dirs {
		err = errors.Join(err, setTimes(d.path, d.at))
	}
	return err
}

// below is a path in a directory that may be given by a magic link. Unlike filepath.Join, it leads
// through that link also for ".".
func below(dir, name string) string { return dir + "/" + name }

// copied reports whether copyTree copies this kind of entry.
func copied(mode fs.FileMode) bool { return mode&^fs.ModeSymlink&fs.ModeType == 0 || mode.IsDir() }

func copyEntry(from, to string, fi fs.FileInfo) error {
	plain := fi.Mode().Perm()
	switch {
	case fi.IsDir():
		if err := os.Mkdir(to, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		return os.Chmod(to, plain|0o700)
	case fi.Mode()&fs.ModeSymlink != 0:
		text, err := os.Readlink(from)
		if err == nil {
			err = os.Symlink(text, to)
		}
		if err != nil {
			return err
		}
	case fi.Mode().IsRegular():
		if err := copyContent(from, to, plain|0o600); err != nil {
			return err
		}
	default:
		return nil
	}
	return setTimes(to, fi.ModTime())
}

func copyContent(from, to string, mode fs.FileMode) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Chmod(mode), out.Close())
}

func setTimes(path string, t time.Time) error {
	ts, err := unix.TimeToTimespec(t)
	if err != nil {
		return err
	}
	err = unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
	return wrap(err, "set the time of %s", path)
}
