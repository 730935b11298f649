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

// A Draft is a directory under way, on the file system of the one that it is to become. A signal
// that ends the program removes it first; the program then dies of it as ever. Signals that were
// ignored stay so.
type Draft struct {
	Dir     string
	path    string
	signals chan os.Signal
	// whoever removes it for a signal keeps the lock: what fails meanwhile, since it is gone, is
	// not said
	lock sync.Mutex
}

// NewDraft makes one for the directory that is to be at path.
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
	for range 10 { // it may be written to still
		if os.RemoveAll(d.Dir) == nil {
			break
		}
	}
	signal.Reset(s)
	_ = unix.Kill(os.Getpid(), s.(unix.Signal))
}

// Place puts it in its place, and in that of a directory that is there. A signal waits until
// either the old or the new one is whole.
func (d *Draft) Place() error {
	d.lock.Lock()
	defer d.lock.Unlock()
	err := os.Rename(d.Dir, d.path) // takes the place of nothing, or of an empty directory
	if err == nil || !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err = Exchange(d.Dir, d.path); !errors.Is(err, errors.ErrUnsupported) {
		return err // the draft now is the earlier directory, and goes
	}
	if err = os.RemoveAll(d.path); err != nil {
		return err
	}
	return os.Rename(d.Dir, d.path)
}

// Close removes what is left of it.
func (d *Draft) Close() {
	d.lock.Lock()
	defer d.lock.Unlock()
	signal.Stop(d.signals)
	close(d.signals)
	os.RemoveAll(d.Dir)
}
