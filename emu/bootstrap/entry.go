package bootstrap

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"binproxy/emu/sys"
)

// make makes the entry, and replaces what is there. A directory stays, with new attributes.
func (u *unpacker) make(at string, h *tar.Header, contents io.Reader) error {
	there, err := u.root.Lstat(at)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case h.Typeflag == tar.TypeDir && there.IsDir():
		return u.attributes(at, h)
	default:
		if err := u.root.RemoveAll(at); err != nil {
			return err
		}
	}
	switch h.Typeflag {
	case tar.TypeDir:
		if err := u.root.Mkdir(at, 0o700); err != nil {
			return err
		}
	case tar.TypeReg:
		return u.file(at, h, contents)
	case tar.TypeSymlink:
		if err := u.root.Symlink(h.Linkname, at); err != nil {
			return err
		}
		return u.root.Lchown(at, h.Uid, h.Gid)
	case tar.TypeLink:
		return u.link(at, h)
	case tar.TypeChar, tar.TypeBlock:
		u.devices++ // they cannot be made in a user namespace
		return nil
	case tar.TypeFifo:
		return nil
	default:
		return fmt.Errorf("an entry of type %q", h.Typeflag)
	}
	return u.attributes(at, h)
}

func (u *unpacker) file(at string, h *tar.Header, contents io.Reader) error {
	f, err := u.root.OpenFile(at, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.Copy(f, contents); err != nil {
		return err
	}
	if err := u.attributes(at, h); err != nil {
		return err
	}
	for key, value := range h.PAXRecords {
		// Mostly capabilities. Others may be refused to a namespace's root.
		if name, ok := strings.CutPrefix(key, "SCHILY.xattr."); ok && (name == "security.capability" || strings.HasPrefix(name, "user.")) {
			if err := sys.SetXattr(f, name, value); err != nil && !errors.Is(err, unix.ENOTSUP) {
				return err
			}
		}
	}
	return nil
}

// link makes another name of a file that the image has.
func (u *unpacker) link(at string, h *tar.Header) error {
	dir, base := path.Split(path.Clean("/" + h.Linkname))
	dir, err := u.makeDirs(dir)
	if err != nil {
		return err
	}
	return u.root.Link(path.Join(dir, base), at)
}

// attributes sets owner, mode and time; the owner first, because changing it clears setuid.
func (u *unpacker) attributes(at string, h *tar.Header) error {
	if err := u.root.Lchown(at, h.Uid, h.Gid); errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("owner %d:%d does not exist in the user namespace; a larger range in /etc/subuid and /etc/subgid has it: %w", h.Uid, h.Gid, err)
	} else if err != nil {
		return err
	}
	if err := u.root.Chmod(at, fs.FileMode(h.Mode).Perm()|special(h.Mode)); err != nil {
		return err
	}
	if h.Typeflag == tar.TypeDir {
		u.dirs = append(u.dirs, stamped{at, h.ModTime})
		return nil
	}
	return u.root.Chtimes(at, time.Time{}, h.ModTime)
}

// special converts tar's bits (setuid, setgid, sticky) to Go's.
func special(mode int64) (m fs.FileMode) {
	for _, b := range [...]struct {
		tar int64
		fs  fs.FileMode
	}{{0o4000, fs.ModeSetuid}, {0o2000, fs.ModeSetgid}, {0o1000, fs.ModeSticky}} {
		if mode&b.tar != 0 {
			m |= b.fs
		}
	}
	return m
}

// setTimes sets the directories' times after everything in them is made. It skips removed ones.
func (u *unpacker) setTimes() error {
	for _, d := range u.dirs {
		if fi, err := u.root.Lstat(d.name); err != nil || !fi.IsDir() {
			continue
		}
		if err := u.root.Chtimes(d.name, time.Time{}, d.time); err != nil {
			return err
		}
	}
	return nil
}
