package uml

import (
	"archive/tar"
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
)

// A kept layer is one tar file in the directory of --upper. The layer itself always lies in a tmpfs of the guest, where chown,
// mknod and extended attributes are a root's: hostfs, run by an ordinary user, has none of them. What an overlay
// notes in it (whiteouts are devices 0:0, opaque directories an attribute) is in the tar file as it is.

// layerName is the file's name; it is written beside and renamed, so that it is always a whole one.
const layerName = "layer.tar"

const (
	upperDir    = "/layer/upper"
	xattrPrefix = "SCHILY.xattr." // as GNU tar and bsdtar have it
)

// restoreLayer unpacks a layer that was kept, and notes where to keep this one: both directories stay open, beyond the change of
// the root.
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
	f, err := os.Open("/layer/keep/" + layerName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return wrap(unpackLayer(f, upperDir), "restore the layer of --upper %s", g.job.LayerDir)
}

// openDir opens a directory and returns a path to it that no mount and no change of the root can take away.
func openDir(path string) (string, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", &os.PathError{Op: "open", Path: path, Err: err}
	}
	return "/proc/self/fd/" + strconv.Itoa(fd), nil
}

// saveLayer packs the layer, where it is to be kept.
func (g *guest) saveLayer() error {
	if g.keep == "" {
		return nil
	}
	// The command may have hidden /proc; this one is ours.
	name := filepath.Join(g.keep, layerName)
	f, err := os.OpenFile(name+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err == nil {
		err = errors.Join(packLayer(f, g.upper), f.Close())
	}
	if err == nil {
		err = os.Rename(name+".new", name)
	}
	return wrap(err, "keep the layer in --upper %s", g.job.LayerDir)
}

// packLayer writes the tree below dir as a tar file: owners, modes, times, devices, hard links and extended attributes.
func packLayer(w io.Writer, dir string) error {
	out := tar.NewWriter(w)
	seen := map[uint64]string{} // inode -> the name of its first link
	dir += "/"                  // a magic link is followed
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return packFile(out, path, strings.TrimPrefix(path, dir), seen)
	})
	return errors.Join(err, out.Close())
}

func packFile(out *tar.Writer, path, name string, seen map[uint64]string) error {
	fi, err := os.Lstat(path)
	if err != nil || fi.Mode()&fs.ModeSocket != 0 {
		return err
	}
	link := ""
	if fi.Mode()&fs.ModeSymlink != 0 {
		if link, err = os.Readlink(path); err != nil {
			return err
		}
	}
	h, err := tar.FileInfoHeader(fi, link)
	if err != nil {
		return err
	}
	h.Name, h.Format, h.Uname, h.Gname = name, tar.FormatPAX, "", ""
	if name == "" {
		h.Name = "."
	}
	st := fi.Sys().(*syscall.Stat_t)
	if first, linked := seen[st.Ino]; linked && !fi.IsDir() {
		h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
		return out.WriteHeader(h)
	}
	if st.Nlink > 1 {
		seen[st.Ino] = name
	}
	if h.PAXRecords, err = xattrs(path); err != nil {
		return err
	}
	if err := out.WriteHeader(h); err != nil || h.Typeflag != tar.TypeReg {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(out, f)
	return err
}

// xattrs reads a file's extended attributes as PAX records.
func xattrs(path string) (map[string]string, error) {
	names := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, names)
	if err != nil || n == 0 {
		return nil, wrap(err, "extended attributes of %s", path)
	}
	records := map[string]string{}
	value := make([]byte, 64<<10)
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names[:n]), "\x00"), "\x00") {
		n, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			return nil, fmt.Errorf("extended attribute %s of %s: %w", name, path, err)
		}
		records[xattrPrefix+name] = string(value[:n])
	}
	return records, nil
}

// unpackLayer makes the tree of a tar file below dir.
func unpackLayer(r io.Reader, dir string) error {
	in := tar.NewReader(r)
	var dirs []*tar.Header // their times are set last
	for {
		h, err := in.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if !filepath.IsLocal(h.Name) {
			return fmt.Errorf("%q leads out of the layer", h.Name)
		}
		if err := unpackFile(in, h, dir); err != nil {
			return err
		}
		if h.Typeflag == tar.TypeDir {
			dirs = append(dirs, h)
		}
	}
	for _, h := range dirs {
		if err := setTimes(filepath.Join(dir, h.Name), h.ModTime); err != nil {
			return err
		}
	}
	return nil
}

func unpackFile(in *tar.Reader, h *tar.Header, dir string) error {
	path := filepath.Join(dir, h.Name)
	if err := makeFile(in, h, dir, path); err != nil || h.Typeflag == tar.TypeLink {
		return err
	}
	if err := os.Lchown(path, h.Uid, h.Gid); err != nil {
		return err
	}
	if h.Typeflag != tar.TypeSymlink {
		if err := unix.Chmod(path, uint32(h.Mode)); err != nil {
			return &os.PathError{Op: "chmod", Path: path, Err: err}
		}
	}
	for key, value := range h.PAXRecords {
		if name, ok := strings.CutPrefix(key, xattrPrefix); ok {
			if err := unix.Lsetxattr(path, name, []byte(value), 0); err != nil {
				return fmt.Errorf("set extended attribute %s of %s: %w", name, path, err)
			}
		}
	}
	if h.Typeflag == tar.TypeDir {
		return nil
	}
	return setTimes(path, h.ModTime)
}

func makeFile(in *tar.Reader, h *tar.Header, dir, path string) error {
	device := int(unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor)))
	switch h.Typeflag {
	case tar.TypeDir:
		if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		return nil
	case tar.TypeSymlink:
		return os.Symlink(h.Linkname, path)
	case tar.TypeLink:
		if !filepath.IsLocal(h.Linkname) {
			return fmt.Errorf("%q links out of the layer", h.Name)
		}
		return os.Link(filepath.Join(dir, h.Linkname), path)
	case tar.TypeChar:
		return wrap(unix.Mknod(path, unix.S_IFCHR|0o600, device), "mknod %s", path)
	case tar.TypeBlock:
		return wrap(unix.Mknod(path, unix.S_IFBLK|0o600, device), "mknod %s", path)
	case tar.TypeFifo:
		return wrap(unix.Mknod(path, unix.S_IFIFO|0o600, 0), "mkfifo %s", path)
	case tar.TypeReg:
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, in)
		return errors.Join(err, f.Close())
	}
	return fmt.Errorf("%q: type %q of a tar entry", h.Name, h.Typeflag)
}

func setTimes(path string, t time.Time) error {
	ts, err := unix.TimeToTimespec(t)
	if err != nil {
		return err
	}
	err = unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
	return wrap(err, "set the time of %s", path)
}
