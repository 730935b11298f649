package run

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"binproxy/emu/exit"
	"binproxy/emu/observe"
	"binproxy/emu/supervise"
	"binproxy/emu/trouble"
)

// report holds what --trace and --summary ask for.
type report struct {
	trace   string
	summary bool
}

func (r report) asked() bool { return r.trace != "" || r.summary }

// supervised runs the command under supervision, with the requested reports.
func (r report) supervised(c supervise.Config) (unix.WaitStatus, error) {
	var watch trouble.Watch
	c.Died = watch.Died
	defer watch.Print(os.Stderr)
	if !r.asked() {
		return supervise.Run(c)
	}
	var log *observe.Log
	if r.trace != "" {
		f, err := os.Create(r.trace)
		if err != nil {
			return 0, exit.Errorf(exit.Failed, "run: --trace: %w", err)
		}
		defer f.Close()
		log = observe.New(f, r.summary)
	} else {
		log = observe.New(nil, r.summary)
	}
	c.Observer = log
	status, err := supervise.Run(c)
	if err := log.Close(); err != nil {
		fmt.Fprintf(os.Stderr, "binproxy: the trace is not whole: %v\n", err)
	}
	if err == nil && r.summary {
		_ = log.Summary(os.Stderr)
	}
	return status, err
}
