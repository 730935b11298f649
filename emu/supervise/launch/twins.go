package launch

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"binproxy/emu/sys"
)

// TwinsPlace is where twins are mounted in a root that lacks them.
const TwinsPlace = "/.binproxy-twins"

// PlaceTwins makes the directory in the root on which the launcher mounts the twins, in a mount
// namespace of its own. The returned function removes the directory, unless another run has its
// twins there: removing a directory also removes all mounts on it, in every namespace.
func PlaceTwins(root string) (back func(), err error) {
	dir := filepath.Join(root, TwinsPlace)
	held, err := holdDir(dir)
	if err != nil {
		return nil, err
	}
	return func() {
		if sys.Flock(held, unix.LOCK_EX|unix.LOCK_NB) == nil {
			_ = os.Remove(dir)
		}
		held.Close()
	}, nil
}

// holdDir opens a directory with a lock that others may share, and makes it if it is missing.
func holdDir(path string) (*os.File, error) {
	for {
		if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return nil, err
		}
		fd, err := sys.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW)
		if errors.Is(err, unix.ENOENT) {
			continue // another run has just removed it
		}
		if err != nil {
			return nil, &os.PathError{Op: "open", Path: path, Err: err}
		}
		dir := os.NewFile(uintptr(fd), path)
		// Without locks in the file system the twins are placed all the same; the directory then
		// stays.
		if err := sys.Flock(dir, unix.LOCK_SH); err != nil && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.ENOLCK) {
			dir.Close()
			return nil, err
		}
		if still, err := dir.Stat(); err == nil {
			if now, err := os.Lstat(path); err == nil && os.SameFile(still, now) {
				return dir, nil
			}
		}
		dir.Close()
	}
}

// mountTwins mounts a directory of twins in the launcher's mount namespace, read-only as far as
// that is allowed.
func mountTwins(dir, root string) error {
	place := filepath.Join(root, TwinsPlace)
	if err := sys.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil && !errors.Is(err, unix.EINVAL) {
		return err
	}
	if err := sys.Mount(dir, place, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	_ = sys.Mount("", place, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")
	return nil
}
