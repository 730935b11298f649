package launch

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"binproxy/emu/sys"
)

// TwinsPlace is where twins are mounted in a root that does not have them.
const TwinsPlace = "/.binproxy-twins"

// PlaceTwins makes the directory in the root that the twins are mounted on, by the launcher, in a
// mount namespace of its own. The function that it gives takes it away, if no other run has its
// twins there: a directory that is removed takes all that is mounted on it along, in every
// namespace.
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

// holdDir opens a directory, which it makes if it is not there, with a lock that others may share.
func holdDir(path string) (*os.File, error) {
	for {
		if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return nil, err
		}
		fd, err := sys.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW)
		if errors.Is(err, unix.ENOENT) {
			continue // another run has taken it away just now
		}
		if err != nil {
			return nil, &os.PathError{Op: "open", Path: path, Err: err}
		}
		dir := os.NewFile(uintptr(fd), path)
		// A file system without locks is no reason to have no twins: the directory then stays.
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
