package sys

import (
	"errors"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// A Draft is a directory in progress, on the file system of the one that it will become. A signal
// that ends the program first removes the Draft; the program then dies of the signal as usual.
// Ignored signals stay ignored.
type Draft struct {
	Dir     string
	path    string
	signals chan os.Signal
	// the remover for a signal keeps the lock: the draft is gone, so later errors are not reported
	lock sync.Mutex
}

// NewDraft makes a Draft of the directory at path.
func NewDraft(path string) (*Draft, error) {
	dir, err := os.MkdirTemp(filepath.Dir(path), "."+filepath.Base(path)+".")
	if err != nil {
		return nil, err
	}
	d := &Draft{Dir: dir, path: path, signals: make(chan os.Signal, 1)}
	for _, s := range []os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP} {
		if !signal.Ignored(s) {
			signal.Notify(d.signals, s)
		}
	}
	go d.endOnSignal()
	return d, nil
}

func (d *Draft) endOnSignal() {
	s, ok := <-d.signals
	if !ok {
		return
	}
	d.lock.Lock()
	for range 10 { // others may still write to it
		if os.RemoveAll(d.Dir) == nil {
			break
		}
	}
	signal.Reset(s)
	_ = unix.Kill(os.Getpid(), s.(unix.Signal))
}

// Place puts the Draft in its place, where it may replace a directory. A signal waits until either
// the old or the new one is whole.
func (d *Draft) Place() error {
	d.lock.Lock()
	defer d.lock.Unlock()
	err := os.Rename(d.Dir, d.path) // replaces nothing, or an empty directory
	if err == nil || !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err = Exchange(d.Dir, d.path); !errors.Is(err, errors.ErrUnsupported) {
		return err // the draft is now the old directory, and is removed
	}
	if err = os.RemoveAll(d.path); err != nil {
		return err
	}
	return os.Rename(d.Dir, d.path)
}

// Close removes the rest of it.
func (d *Draft) Close() {
	d.lock.Lock()
	defer d.lock.Unlock()
	signal.Stop(d.signals)
	close(d.signals)
	os.RemoveAll(d.Dir)
}
