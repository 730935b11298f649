// Package apt calls apt-get and apt-cache so that they end soon and say why they failed, and
// fetches packages with lists of its own.
//
// Each wait for a server or a lock is bounded, even where one of apt's methods hangs. Messages are
// in English, and apt asks nothing. Reason finds in the output why a call failed. A call that
// fails because of a mirror's temporary trouble is tried again.
//
// A Lists keeps its lists, cache and status in a directory of the caller's. So what the machine's
// own apt knows and has installed does not change, and no privilege is needed. Its sources are the
// machine's, or any suite and architecture of Debian: from the mirror that the machine's apt uses,
// checked with Debian's keys. It reads its lists again when they are a day old, and when a
// download fails, since the archive may then have a newer version. A download arrives whole or not
// at all.
package apt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Programs are the programs that are called, and the Debian packages that have them.
var Programs = [][2]string{{"apt-get", "apt"}, {"apt-cache", "apt"}}

// Patience is how long to wait for others.
type Patience struct {
	Answer  time.Duration   // for a server; whole seconds, of which apt takes two for one
	Retries int             // of each file: after one second, two, four
	Stall   time.Duration   // for the next byte of a download, whatever apt waits for; 0 for ever
	Lock    time.Duration   // for another apt-get or dpkg to end
	Pauses  []time.Duration // between the tries of Attempt
}

// Once is for an apt-get that is called once, with mirrors that are known to answer.
func Once() Patience {
	return Patience{Answer: 30 * time.Second, Retries: 3, Stall: 5 * time.Minute, Lock: 5 * time.Minute}
}

// Repeated is for calls by Attempt: apt-get itself retries nothing, since the lists may have to be
// read again between two tries.
func Repeated() Patience {
	return Patience{Answer: 8 * time.Second, Stall: time.Minute, Lock: 5 * time.Minute,
		Pauses: []time.Duration{time.Second, 4 * time.Second, 10 * time.Second}}
}

// Attempt calls try until it succeeds, once more after each of the pauses, unless the error is
// permanent.
func (p Patience) Attempt(ctx context.Context, try func() error) error {
	for _, pause := range p.Pauses {
		err := try()
		if err == nil || ctx.Err() != nil || errors.Is(err, ErrNoPackage) || errors.Is(err, exec.ErrNotFound) {
			return err
		}
		if wait(ctx, pause) != nil {
			return err
		}
	}
	return try()
}

// wait sleeps, unless the context ends first.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// Get is how to call apt-get.
type Get struct {
	Patience
	Options []string // each NAME=VALUE, as after -o
	Dir     string   // where it runs; "" for here
	Echo    io.Writer
	Keep    []*os.File // stay open while it runs: lock files
}

// Error is a call that failed.
type Error struct {
	Command string // apt-get install
	Said    string
	Err     error
}

func (e *Error) Error() string { return e.Command + ": " + e.Reason() }
func (e *Error) Unwrap() error { return e.Err }

// Run runs apt-get and returns its output on both streams. The error is an *Error.
func (g Get) Run(ctx context.Context, args ...string) (string, error) {
	for end := time.Now().Add(g.Lock); ; {
		said, err := g.call(ctx, nil, "apt-get", args...)
		// apt itself waits for dpkg's lock, but not for the locks of its own directories.
		if err == nil || !ownLock(said) || time.Now().After(end) || wait(ctx, time.Second) != nil {
			return said, err
		}
	}
}

func ownLock(said string) bool {
	return strings.Contains(said, "Could not get lock") && (strings.Contains(said, "/lists/lock") || strings.Contains(said, "/archives/lock"))
}

// call runs one of the programs and returns its output: of both streams, or, if stdout is given,
// of stderr.
func (g Get) call(ctx context.Context, stdout io.Writer, program string, args ...string) (string, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	cmd := exec.CommandContext(ctx, program, append(g.flags(), args...)...)
	cmd.Dir, cmd.ExtraFiles = g.Dir, g.Keep
	if g.Stall > 0 {
		watch, err := g.watch(cmd, cancel)
		if err != nil {
			return "", err
		}
		defer watch.Close()
	}
	cmd.Env = Environ()
	var said bytes.Buffer
	out := io.Writer(&said)
	if g.Echo != nil {
		out = io.MultiWriter(&said, &lines{w: g.Echo})
	}
	cmd.Stdout, cmd.Stderr = out, out
	if stdout != nil {
		cmd.Stdout = stdout
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it ends its methods
	cmd.WaitDelay = 10 * time.Second                                      // but they may hang
	err := cmd.Run()
	if err == nil {
		return said.String(), nil
	}
	failed := &Error{Command: program + " " + args[0], Said: said.String(), Err: err}
	if ctx.Err() != nil {
		failed.Said, failed.Err = "", context.Cause(ctx)
	}
	return said.String(), failed
}

// lines writes each line on, except for repetitions: apt-get writes a line every second while it
// waits for a lock.
type lines struct {
	w       io.Writer
	partial []byte
	last    string
}

func (l *lines) Write(text []byte) (int, error) {
	l.partial = append(l.partial, text...)
	for {
		end := bytes.IndexByte(l.partial, '\n')
		if end < 0 {
			return len(text), nil
		}
		line := string(l.partial[:end+1])
		l.partial = l.partial[end+1:]
		if line == l.last {
			continue
		}
		l.last = line
		if _, err := io.WriteString(l.w, line); err != nil {
			return 0, err
		}
	}
}

func (g Get) flags() []string {
	flags := []string{"-q"}
	for _, option := range append([]string{
		fmt.Sprintf("Acquire::http::Timeout=%d", int(g.Answer.Seconds())), fmt.Sprintf("Acquire::https::Timeout=%d", int(g.Answer.Seconds())),
		fmt.Sprintf("Acquire::Retries=%d", g.Retries), fmt.Sprintf("DPkg::Lock::Timeout=%d", int(g.Lock.Seconds())),
		"APT::Get::Assume-Yes=true", "Acquire::Languages=none", "Dpkg::Use-Pty=0", "DPkg::Options::=--force-confdef", "DPkg::Options::=--force-confold",
		"APT::Update::Error-Mode=any", // else an unread index is only a warning
	}, g.Options...) {
		flags = append(flags, "-o", option)
	}
	return flags
}

// Environ is our environment, without what makes apt and dpkg ask questions or use another
// language.
func Environ() []string {
	return append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8", "LANGUAGE=")
}
