package sys

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Lock opens a file or directory and takes its exclusive lock (flock); it waits for the lock until
// the context ends. The lock is held until the file is closed here and in every process that
// inherited it. Everybody who can open it can hold it, too.
func Lock(ctx context.Context, path string) (*os.File, error) {
	return lock(ctx, path, os.O_RDONLY)
}

// LockFile is Lock of a file that is there for that, and is made where it is missing: its owner
// alone can open it.
func LockFile(ctx context.Context, path string) (*os.File, error) {
	return lock(ctx, path, os.O_CREATE|os.O_RDWR)
}

func lock(ctx context.Context, path string, flags int) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, flags, 0o600)
		if err != nil {
			return nil, err
		}
		if flags&os.O_CREATE != 0 {
			_ = f.Chmod(0o600) // of one that was made otherwise
		}
		if err := await(ctx, f); err != nil {
			f.Close()
			return nil, &os.PathError{Op: "lock", Path: path, Err: err}
		}
		// If it was removed while we waited, its lock keeps nobody out.
		removed, err := isRemoved(f)
		if !removed && err == nil {
			return f, nil
		}
		f.Close()
		if err != nil {
			return nil, err
		}
	}
}

// isRemoved reports whether the name leads to another file now, or to none.
func isRemoved(f *os.File) (bool, error) {
	opened, err := f.Stat()
	if err != nil {
		return false, err
	}
	now, err := os.Stat(f.Name())
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	return err == nil && !os.SameFile(now, opened), err
}

// await asks for the lock again and again, since only a signal would end a wait in the kernel.
func await(ctx context.Context, f *os.File) error {
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		err := Retry(func() error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) })
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

// Flock is flock(2).
func Flock(f *os.File, how int) error {
	if err := Retry(func() error { return unix.Flock(int(f.Fd()), how) }); err != nil {
		return &os.PathError{Op: "lock", Path: f.Name(), Err: err}
	}
	return nil
}
