package growing

import (
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
	Dir     string // valid for this process, but not for its children
	grows   *Dir
	name    string
	signals chan os.Signal
	// the remover for a signal keeps the lock: the draft is gone, so later errors are not reported
	lock sync.Mutex
}

// NewDraft makes a Draft of the directory at path.
func NewDraft(path string) (*Draft, error) {
	g, err := MakeBeside(path)
	if err != nil {
		return nil, err
	}
	d := &Draft{Dir: g.Path(), grows: g, name: filepath.Base(path), signals: make(chan os.Signal, 1)}
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
		if d.grows.Remove("") == nil {
			break
		}
	}
	signal.Reset(s)
	_ = unix.Kill(os.Getpid(), s.(unix.Signal))
}

// Place moves the Draft to its place, where it may replace a directory. A signal waits until
// either the old or the new one is complete.
func (d *Draft) Place() error {
	d.lock.Lock()
	defer d.lock.Unlock()
	return d.grows.Place(d.name)
}

// Beside is the path of a name beside the Draft, for this process. The check whether the Draft may
// take its place must use this path: another may lead elsewhere by now.
func (d *Draft) Beside(name string) string { return d.grows.Beside(name) }

// Put moves one of its files to a name beside it.
func (d *Draft) Put(name string) error { return d.grows.Put(name, name) }

// Close removes the rest of the Draft.
func (d *Draft) Close() {
	d.lock.Lock()
	defer d.lock.Unlock()
	signal.Stop(d.signals)
	close(d.signals)
	_ = d.grows.Remove("")
	d.grows.Close()
}
