// Package apt calls apt-get so that it ends soon and can be understood: bounded waits for servers
// and locks, messages in English, no questions; and finds the reason of a failure in all that it
// said. Scripts and tests that bring packages share it.
package apt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

// Patience is how long apt-get waits for others.
type Patience struct {
	Answer  time.Duration // for a server; whole seconds, of which apt takes two for one
	Retries int           // of each file: after one second, two, four
	Lock    time.Duration // for another apt-get or dpkg to end
}

// Usual is for downloads from mirrors that are known to answer.
func Usual() Patience { return Patience{Answer: 30 * time.Second, Retries: 3, Lock: 5 * time.Minute} }

// Get is how apt-get is called.
type Get struct {
	Patience
	Options []string // each NAME=VALUE, as after -o
	Dir     string   // where it runs; "" for here
	Echo    io.Writer
	Keep    []*os.File // are open as long as it runs: lock files
}

// Error is a call of apt-get that failed.
type Error struct {
	Command string // its first argument
	Said    string
	Err     error
}

func (e *Error) Error() string { return fmt.Sprintf("apt-get %s: %s", e.Command, e.Reason()) }
func (e *Error) Unwrap() error { return e.Err }

// Reason is the one line that tells why.
func (e *Error) Reason() string {
	if reason := Reason(e.Said); reason != "" {
		return reason
	}
	return e.Err.Error()
}

// Run runs apt-get and returns what it said on both streams. The error is an *Error.
func (g Get) Run(ctx context.Context, args ...string) (string, error) {
	for end := time.Now().Add(g.Lock); ; {
		said, err := g.once(ctx, args)
		// apt waits for dpkg's lock by itself, but not for the locks of its own folders.
		if err == nil || !ownLock(said) || time.Now().After(end) {
			return said, err
		}
		if err := Wait(ctx, time.Second); err != nil {
			return said, err
		}
	}
}

func ownLock(said string) bool {
	return strings.Contains(said, "Could not get lock") && (strings.Contains(said, "/lists/lock") || strings.Contains(said, "/archives/lock"))
}

func (g Get) once(ctx context.Context, args []string) (string, error) {
	cmd := exec.CommandContext(ctx, "apt-get", append(g.flags(), args...)...)
	cmd.Dir, cmd.ExtraFiles = g.Dir, g.Keep
	cmd.Env = Environ()
	var said bytes.Buffer
	out := io.Writer(&said)
	if g.Echo != nil {
		out = io.MultiWriter(&said, &lines{w: g.Echo})
	}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.WaitDelay = time.Second // its methods end after it
	err := cmd.Run()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return said.String(), &Error{Command: args[0], Said: said.String(), Err: err}
	}
	return said.String(), nil
}

// lines writes each line on, but for those that say the same as the one before: apt-get repeats
// every second that it waits for a lock.
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
	flags := []string{"-q", "-y"}
	for _, option := range append([]string{
		fmt.Sprintf("Acquire::http::Timeout=%d", int(g.Answer.Seconds())), fmt.Sprintf("Acquire::https::Timeout=%d", int(g.Answer.Seconds())),
		fmt.Sprintf("Acquire::Retries=%d", g.Retries), fmt.Sprintf("DPkg::Lock::Timeout=%d", int(g.Lock.Seconds())),
		"Acquire::Languages=none", "Dpkg::Use-Pty=0", "DPkg::Options::=--force-confdef", "DPkg::Options::=--force-confold",
		"APT::Update::Error-Mode=any", // an index that was not read is else only a warning
	}, g.Options...) {
		flags = append(flags, "-o", option)
	}
	return flags
}

// Environ is ours, but for what makes apt and dpkg ask questions or speak another language.
func Environ() []string {
	return append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8", "LANGUAGE=")
}

// obstacle is a failure that has nothing to do with the packages that were asked for.
const obstacle = `(?m)^(?:E: )?((?:dpkg was interrupted|Unmet dependencies\. Try|Could not get lock|Unable to (?:acquire|lock)|You don't have enough free space|` +
	`The list of sources could not be read|.*No space left on device|.*Read-only file system).*)$`

// Obstacle tells whether apt-get would fail in the same way for any other package.
func (e *Error) Obstacle() bool { return regexp.MustCompile(obstacle).MatchString(e.Said) }

// Reason finds the line that tells why apt-get, dpkg or debootstrap failed in what it said; ""
// where it said nothing.
func Reason(said string) string {
	const address = `(?:\s*\[IP: [^\]\n]*\])?$`
	for _, pattern := range []string{
		obstacle,
		`(?m)^(dpkg: error processing (?:package|archive) .*):\n\s*(.+)$`,
		`(?m)^[EW]: Failed to fetch (\S+)\s+(.*?)` + address,
		`(?m)^ (\S+ : (?:Pre-?)?(?:Depends|Conflicts|Breaks): .+)$`,
		`(?m)^E: (.+)$`,
		`(?m)^W: (.+)$`,
	} {
		if m := regexp.MustCompile(pattern).FindStringSubmatch(said); m != nil {
			return strings.TrimSpace(strings.Join(m[1:], ": "))
		}
	}
	said = strings.TrimSpace(said)
	return said[strings.LastIndex(said, "\n")+1:]
}

// Answered tells from what `apt-get update` said whether any server answered.
func Answered(said string) bool { return regexp.MustCompile(`(?m)^(Hit|Get):\d+ `).MatchString(said) }

// Unreachable tells whether a failure is that of a server which did not answer: no other file of
// it will come either.
func Unreachable(err error) bool {
	var failed *Error
	return errors.As(err, &failed) && regexp.MustCompile(`Could not connect|Cannot initiate the connection|Unable to connect|Could not resolve|`+
		`Temporary failure resolving|Connection (failed|timed out)|No route to host|Network is unreachable`).MatchString(failed.Reason())
}

// Wait sleeps, unless the context ends before.
func Wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// Waits is how long Attempt waits for a mirror that hiccups.
func Waits() []time.Duration { return []time.Duration{time.Second, 3 * time.Second} }

// Attempt calls f until it succeeds, once more after each of the waits.
func Attempt(ctx context.Context, waits []time.Duration, f func() error) error {
	for _, d := range waits {
		err := f()
		if err == nil || ctx.Err() != nil {
			return err
		}
		if Wait(ctx, d) != nil {
			return err
		}
	}
	return f()
}
