package sys

import (
	"os"
	"os/signal"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// Beside makes a directory beside path, on the same file system, for what is to take its place. done removes it; so does a signal that ends the
// program, which then dies of it as ever. Signals that were ignored stay so.
func Beside(path string) (temp string, done func(), err error) {
	if temp, err = os.MkdirTemp(filepath.Dir(path), "."+filepath.Base(path)+"."); err != nil {
		return "", nil, err
	}
	var gone sync.Mutex // whoever removes it keeps the lock: what fails meanwhile, since it is gone, is not said
	signals := make(chan os.Signal, 1)
	for _, s := range []os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP} {
		if !signal.Ignored(s) {
			signal.Notify(signals, s)
		}
	}
	go func() {
		s, ok := <-signals
		if !ok {
			return
		}
		gone.Lock()
		for range 10 { // it may be written to still
			if os.RemoveAll(temp) == nil {
				break
			}
		}
		signal.Reset(s)
		_ = unix.Kill(os.Getpid(), s.(unix.Signal))
	}()
	return temp, func() {
		gone.Lock()
		signal.Stop(signals)
		close(signals)
		os.RemoveAll(temp)
	}, nil
}
