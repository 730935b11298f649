package sys

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var lockers = map[string]func(context.Context, string) (*os.File, error){"Lock": Lock, "LockFile": LockFile}

// A wait for a lock ends with its context; the error has the context's reason and the file's name.
// It gets the lock as soon as the lock is free.
func TestLockWaits(t *testing.T) {
	for name, lock := range lockers {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "lock")
			require.NoError(t, os.WriteFile(path, nil, 0o644))
			held, err := lock(t.Context(), path)
			require.NoError(t, err)
			defer held.Close()

			ctx, cancel := context.WithCancelCause(t.Context())
			waiting := make(chan error, 1)
			go func() {
				_, err := lock(ctx, path)
				waiting <- err
			}()
			select {
			case err := <-waiting:
				t.Fatal("it does not wait:", err)
			case <-time.After(20 * time.Millisecond):
			}
			reason := errors.New("enough of it")
			cancel(reason)
			err = within(t, waiting)
			assert.ErrorIs(t, err, reason)
			assert.EqualError(t, err, "lock "+path+": enough of it")

			go func() {
				f, err := lock(t.Context(), path)
				if err == nil {
					err = f.Close()
				}
				waiting <- err
			}()
			require.NoError(t, held.Close())
			assert.NoError(t, within(t, waiting))
		})
	}
}

func within(t *testing.T, result chan error) error {
	t.Helper()
	select {
	case err := <-result:
		return err
	case <-time.After(20 * time.Second):
		t.Fatal("it waits on")
		return nil
	}
}

// A directory can be locked. Only LockFile makes a missing file.
func TestLockOpens(t *testing.T) {
	dir := t.TempDir()
	held, err := Lock(t.Context(), dir)
	require.NoError(t, err)
	defer held.Close()

	path := filepath.Join(dir, "lock")
	_, err = Lock(t.Context(), path)
	require.ErrorIs(t, err, fs.ErrNotExist)
	made, err := LockFile(t.Context(), path)
	require.NoError(t, err)
	defer made.Close()
	assert.FileExists(t, path)
}

// A file that is removed while it is waited for keeps nobody out: its lock is not the one to take.
func TestLockOfRemovedFile(t *testing.T) {
	for name, lock := range lockers {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "lock")
			held, err := LockFile(t.Context(), path)
			require.NoError(t, err)
			defer held.Close()
			waiting := make(chan error, 1)
			go func() {
				f, err := lock(t.Context(), path)
				if err == nil {
					defer f.Close()
					_, err = os.Stat(path)
				}
				waiting <- err
			}()
			time.Sleep(20 * time.Millisecond)
			require.NoError(t, os.Remove(path))
			require.NoError(t, held.Close())
			err = within(t, waiting)
			if name == "Lock" {
				require.ErrorIs(t, err, fs.ErrNotExist)
				return
			}
			require.NoError(t, err)
		})
	}
}
