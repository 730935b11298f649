// Package apt fetches packages with package lists of its own.
//
// apt-get and apt-cache are called with lists, cache and status in a directory of the caller's, so
// that what the machine's own apt knows and has installed stays as it is, and no privilege is
// needed. What they ask is either the machine's sources, or suites of Debian that the machine does
// not have: from the mirror that its apt uses, checked with Debian's keys. Lists are read again
// when they are a day old, and when a download fails: then the archive may have a newer version
// than they say.
//
// A download comes to its place whole or not at all.
package apt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// ErrNoPackage tells that the lists have no such package.
var ErrNoPackage = errors.New("no such package")

// keyring has the keys of all of Debian's suites (package debian-archive-keyring, which apt
// depends on in Debian).
const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// fresh is how long lists are believed.
const fresh = 24 * time.Hour

// pauses are those between the tries of an update or a download.
var pauses = []time.Duration{time.Second, 4 * time.Second, 10 * time.Second}

// Programs are what is called, and the Debian packages that have them.
var Programs = [][2]string{{"apt-get", "apt"}, {"apt-cache", "apt"}}

// Lists are package lists, and the apt that uses them. One process at a time may have those of a
// directory.
type Lists struct {
	dir     string
	options []string
	failed  error // why they could not be read again, where old ones are used instead
}

// Machine gives lists of the machine's own sources, kept in dir.
func Machine(dir string) (*Lists, error) { return open(dir) }

// Debian gives lists of suites of Debian, kept in dir.
func Debian(ctx context.Context, dir string, suites ...string) (*Lists, error) {
	mirror, err := Mirror(ctx)
	if err != nil {
		return nil, err
	}
	if mirror == "" {
		return nil, errors.New("the machine's apt names no Debian mirror")
	}
	if _, err := os.Stat(keyring); err != nil {
		return nil, fmt.Errorf("the keys of Debian's archive (package debian-archive-keyring): %w", err)
	}
	return Sources(dir, "[signed-by="+keyring+"] "+mirror, suites...)
}

// Sources gives lists of suites of a repository, kept in dir. The repository is named as in a line
// of a sources.list.
func Sources(dir, repository string, suites ...string) (*Lists, error) {
	var text strings.Builder
	for _, suite := range suites {
		fmt.Fprintf(&text, "deb %s %s main\n", repository, suite)
	}
	l, err := open(dir, "Dir::Etc::SourceParts=-")
	if err != nil {
		return nil, err
	}
	list := filepath.Join(l.dir, "sources.list")
	if before, _ := os.ReadFile(list); string(before) != text.String() {
		os.Remove(l.stamp()) // the lists are another repository's
	}
	l.options = append(l.options, "-o", "Dir::Etc::SourceList="+list)
	return l, os.WriteFile(list, []byte(text.String()), 0o644)
}

func open(dir string, more ...string) (*Lists, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	for _, d := range []string{"lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	l := &Lists{dir: dir}
	for _, o := range append([]string{
		"Dir::State::Lists=" + filepath.Join(dir, "lists"), "Dir::State::status=/dev/null", "Dir::Cache=" + filepath.Join(dir, "cache"),
		"APT::Sandbox::User=", "APT::Architecture=amd64", "APT::Architectures::=amd64", "APT::Update::Error-Mode=any", "APT::Update::Post-Invoke-Success=",
		"Acquire::Languages=none", "Acquire::GzipIndexes=true", "Acquire::AllowReleaseInfoChange=true", "Acquire::Retries=0",
		"Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false", "Acquire::IndexTargets::deb::CNF::DefaultEnabled=false",
	}, more...) {
		l.options = append(l.options, "-o", o)
	}
	return l, nil
}

// Names lists the packages whose names match a regular expression.
func (l *Lists) Names(ctx context.Context, pattern string) ([]string, error) {
	if err := l.refresh(ctx); err != nil {
		return nil, err
	}
	out, err := l.run(ctx, l.dir, "apt-cache", "search", "--names-only", pattern)
	if err != nil {
		return nil, err
	}
	var names []string
	for line := range strings.Lines(out) {
		if name, _, found := strings.Cut(line, " "); found {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil, l.failed
	}
	return names, nil
}

// Version is the version of a package that a download takes.
func (l *Lists) Version(ctx context.Context, name string) (string, error) {
	if err := l.refresh(ctx); err != nil {
		return "", err
	}
	return l.version(ctx, name)
}

func (l *Lists) version(ctx context.Context, name string) (string, error) {
	out, err := l.run(ctx, l.dir, "apt-cache", "policy", name)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(out) {
		if version, found := strings.CutPrefix(strings.TrimSpace(line), "Candidate: "); found && version != "(none)" {
			return version, nil
		}
	}
	if l.failed != nil {
		return "", fmt.Errorf("%s: %w in lists that could not be read again: %w", name, ErrNoPackage, l.failed)
	}
	return "", fmt.Errorf("%s: %w", name, ErrNoPackage)
}

// Download puts packages into a directory and returns the paths of the files, in the order of the
// names.
func (l *Lists) Download(ctx context.Context, dir string, names ...string) (files []string, err error) {
	if err := l.refresh(ctx); err != nil {
		return nil, err
	}
	first := true
	err = retry(ctx, func() error {
		if !first { // a version that the lists name may have been superseded
			if err := l.update(ctx); err != nil {
				return err
			}
		}
		first = false
		files, err = l.download(ctx, dir, names)
		return err
	})
	return files, err
}

// retry tries until it succeeds, with pauses, unless the error is one that stays.
func retry(ctx context.Context, try func() error) error {
	err := try()
	for _, pause := range pauses {
		if err == nil || errors.Is(err, ErrNoPackage) || errors.Is(err, exec.ErrNotFound) {
			break
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
		err = try()
	}
	return err
}

// download is one try, into a directory of its own: apt writes a file under its name from the
// first byte on.
func (l *Lists) download(ctx context.Context, dir string, names []string) ([]string, error) {
	for _, name := range names {
		if _, err := l.version(ctx, name); err != nil {
			return nil, err
		}
	}
	work, err := os.MkdirTemp(dir, "download-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(work)
	if _, err := l.run(ctx, work, "apt-get", append([]string{"download"}, names...)...); err != nil {
		return nil, err
	}
	var files []string
	for _, name := range names {
		found, err := filepath.Glob(filepath.Join(work, name+"_*.deb"))
		if err != nil || len(found) != 1 {
			return nil, errors.Join(err, fmt.Errorf("apt-get download %s brought %d files", name, len(found)))
		}
		file := filepath.Join(dir, filepath.Base(found[0]))
		if err := os.Rename(found[0], file); err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return files, nil
}

// stamp is a file as old as the lists.
func (l *Lists) stamp() string { return filepath.Join(l.dir, "updated") }

// refresh reads the lists again that are not fresh. Where that cannot be done, old ones have to
// do.
func (l *Lists) refresh(ctx context.Context) error {
	fi, err := os.Stat(l.stamp())
	if err == nil && time.Since(fi.ModTime()).Abs() < fresh || l.failed != nil {
		return nil
	}
	l.failed = retry(ctx, func() error { return l.update(ctx) })
	if ctx.Err() != nil || errors.Is(l.failed, exec.ErrNotFound) {
		return l.failed
	}
	return nil
}

// update reads the lists again.
func (l *Lists) update(ctx context.Context) error {
	if _, err := l.run(ctx, l.dir, "apt-get", "update"); err != nil {
		return err
	}
	l.failed = nil
	return os.WriteFile(l.stamp(), nil, 0o644)
}

// run calls a program with the lists and returns its output.
func (l *Lists) run(ctx context.Context, dir, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, slices.Concat([]string{"-q"}, l.options, args)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it ends its downloaders
	cmd.WaitDelay = 10 * time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		return "", failure(args[0], err, stderr.Bytes())
	}
	return stdout.String(), nil
}

// failure is an error of apt's with the lines that say what is wrong.
func failure(what string, err error, stderr []byte) error {
	var said []string
	for line := range strings.Lines(string(stderr)) {
		if text, found := strings.CutPrefix(strings.TrimSpace(line), "E: "); found {
			said = append(said, text)
		}
	}
	if len(said) == 0 {
		said = []string{strings.TrimSpace(string(stderr))}
	}
	return fmt.Errorf("apt-get %s: %w: %s", what, err, strings.Join(said, "; "))
}
