package apt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"binproxy/emu/exit"
	"binproxy/emu/sys"
)

// ErrNoPackage means that the lists have no such package.
const ErrNoPackage = exit.Sentinel("no such package")

// fresh is how long lists are trusted.
const fresh = 24 * time.Hour

// Lists are package lists in a directory, and the apt that uses them. Any number of processes may
// use one directory: they take turns, and a process whose apt-get outlives it keeps its turn.
type Lists struct {
	Patience Patience
	Keep     []*os.File // stay open while what it calls runs: lock files

	dir, arch  string
	repository string // in the form of a sources.list's line; "" for the machine's sources
	sources    string // the text of a sources.list
	failed     error  // why they could not be read again, so that old ones are used
}

// unreachable has the repositories that answered in no attempt, and why: nothing waits for them
// again.
var unreachable sync.Map

// Machine gives lists of the machine's own sources for an architecture (Debian's name), kept in
// dir.
func Machine(dir, arch string) *Lists { return &Lists{Patience: Repeated(), dir: dir, arch: arch} }

// Debian gives lists of suites of Debian for an architecture, kept in dir.
func Debian(ctx context.Context, dir, arch string, suites ...string) (*Lists, error) {
	repository, err := Repository(ctx)
	if err != nil {
		return nil, err
	}
	return Packages(dir, repository, arch, suites...), nil
}

// Packages gives lists of suites of a repository for an architecture, kept in dir. repository has
// the form of a sources.list's line: options and address.
func Packages(dir, repository, arch string, suites ...string) *Lists {
	return listed(dir, "deb", repository, arch, suites)
}

// Sources gives lists of source packages.
func Sources(dir, repository string, suites ...string) *Lists {
	return listed(dir, "deb-src", repository, "amd64", suites)
}

func listed(dir, kind, repository, arch string, suites []string) *Lists {
	l := Machine(dir, arch)
	l.repository = repository
	for _, suite := range suites {
		l.sources += fmt.Sprintf("%s %s %s main\n", kind, repository, suite)
	}
	return l
}

// Names lists the packages whose names match a regular expression.
func (l *Lists) Names(ctx context.Context, pattern string) (names []string, err error) {
	err = l.use(ctx, func(get Get) error {
		if err := l.refresh(ctx, get); err != nil {
			return err
		}
		var out strings.Builder
		if _, err := get.call(ctx, &out, "apt-cache", "search", "--names-only", pattern); err != nil {
			return err
		}
		for line := range strings.Lines(out.String()) {
			if name, _, found := strings.Cut(line, " "); found {
				names = append(names, name)
			}
		}
		if len(names) == 0 {
			return l.failed
		}
		return nil
	})
	return names, err
}

// Version is the version of a package that a download would bring.
func (l *Lists) Version(ctx context.Context, name string) (version string, err error) {
	err = l.use(ctx, func(get Get) error {
		if err := l.refresh(ctx, get); err != nil {
			return err
		}
		version, err = l.version(ctx, get, name)
		return err
	})
	return version, err
}

func (l *Lists) version(ctx context.Context, get Get, name string) (string, error) {
	var out strings.Builder
	if _, err := get.call(ctx, &out, "apt-cache", "policy", name); err != nil {
		return "", err
	}
	for line := range strings.Lines(out.String()) {
		if version, found := strings.CutPrefix(strings.TrimSpace(line), "Candidate: "); found && version != "(none)" {
			return version, nil
		}
	}
	if l.failed != nil {
		return "", fmt.Errorf("%s: %w in lists that could not be read again: %w", name, ErrNoPackage, l.failed)
	}
	return "", fmt.Errorf("%s: %w", name, ErrNoPackage)
}

// missing is the error for the first name that is not in the lists.
func (l *Lists) missing(ctx context.Context, get Get, names []string) error {
	for _, name := range names {
		if _, err := l.version(ctx, get, name); errors.Is(err, ErrNoPackage) {
			return err
		}
	}
	return nil
}

// Download puts packages into a directory and returns the paths of the files, in the order of the
// names.
func (l *Lists) Download(ctx context.Context, dir string, names ...string) ([]string, error) {
	return l.fetch(ctx, dir, func(get Get) (files []string, err error) {
		if _, err := get.Run(ctx, append([]string{"download"}, names...)...); err != nil {
			return nil, cmp.Or(l.missing(ctx, get, names), err)
		}
		for _, name := range names {
			found, err := filepath.Glob(filepath.Join(get.Dir, name+"_*.deb"))
			if err != nil || len(found) != 1 {
				return nil, errors.Join(err, fmt.Errorf("apt-get download %s brought %d files", name, len(found)))
			}
			files = append(files, found[0])
		}
		return files, nil
	})
}

// Source puts the files of a source package into a directory and returns their paths.
func (l *Lists) Source(ctx context.Context, dir, name string) ([]string, error) {
	return l.fetch(ctx, dir, func(get Get) ([]string, error) {
		if _, err := get.Run(ctx, "source", "--download-only", name); err != nil {
			return nil, err
		}
		return filepath.Glob(filepath.Join(get.Dir, "*"))
	})
}

// fetch moves the files that bring gets into a directory, when all are there: apt writes a file
// under its final name from the first byte on.
func (l *Lists) fetch(ctx context.Context, dir string, bring func(Get) ([]string, error)) (files []string, err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	err = l.use(ctx, func(get Get) error {
		if err := l.refresh(ctx, get); err != nil {
			return err
		}
		again := false
		return l.attempt(ctx, func() error {
			if again { // a version that the lists name may have been superseded
				if err := l.update(ctx, get); err != nil {
					return err
				}
			}
			again = true
			files, err = fetchOnce(get, dir, bring)
			return err
		})
	})
	return files, err
}

func fetchOnce(get Get, dir string, bring func(Get) ([]string, error)) (files []string, err error) {
	if get.Dir, err = os.MkdirTemp(dir, "download-"); err != nil {
		return nil, err
	}
	defer os.RemoveAll(get.Dir)
	came, err := bring(get)
	if err != nil {
		return nil, err
	}
	for _, from := range came {
		file := filepath.Join(dir, filepath.Base(from))
		if err := os.Rename(from, file); err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return files, nil
}

// Update reads the lists again.
func (l *Lists) Update(ctx context.Context) error {
	return l.use(ctx, func(get Get) error {
		return l.attempt(ctx, func() error { return l.update(ctx, get) })
	})
}

// refresh reads lists again that are not fresh. If that fails, it uses the old ones.
func (l *Lists) refresh(ctx context.Context, get Get) error {
	fi, err := os.Stat(l.stamp())
	if err == nil && time.Since(fi.ModTime()).Abs() < fresh || l.failed != nil {
		return nil
	}
	l.failed = l.attempt(ctx, func() error { return l.update(ctx, get) })
	if ctx.Err() != nil || errors.Is(l.failed, exec.ErrNotFound) {
		return l.failed
	}
	return nil
}

func (l *Lists) update(ctx context.Context, get Get) error {
	if _, err := get.Run(ctx, "update"); err != nil {
		return err
	}
	l.failed = nil
	return os.WriteFile(l.stamp(), nil, 0o644)
}

// stamp is a file that is as old as the lists.
func (l *Lists) stamp() string { return filepath.Join(l.dir, "updated") }

// attempt asks a repository with patience, unless it has failed to answer before.
func (l *Lists) attempt(ctx context.Context, ask func() error) error {
	if failed, ok := unreachable.Load(l.repository); ok {
		return failed.(error)
	}
	err := l.Patience.Attempt(ctx, ask)
	// The machine's sources may be several, and the others may answer.
	if l.repository != "" && Unreachable(err) {
		unreachable.Store(l.repository, err)
	}
	return err
}

// use calls f with an apt-get that has these lists, while nobody else uses the directory.
func (l *Lists) use(ctx context.Context, f func(Get) error) error {
	dir, err := filepath.Abs(l.dir)
	if err != nil {
		return err
	}
	l.dir = dir
	for _, d := range []string{"lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	turn, err := sys.LockFile(ctx, filepath.Join(dir, "lock"))
	if err != nil {
		return err
	}
	defer turn.Close()
	get := Get{Patience: l.Patience, Dir: dir, Keep: append([]*os.File{turn}, l.Keep...), Options: []string{
		"Dir::State::Lists=" + filepath.Join(dir, "lists"), "Dir::State::status=/dev/null", "Dir::Cache=" + filepath.Join(dir, "cache"),
		"APT::Sandbox::User=", "APT::Architecture=" + l.arch, "APT::Architectures::=" + l.arch, "APT::Update::Post-Invoke-Success=",
		// a mirror that is some weeks behind serves as well: what it has is still signed
		"Acquire::Check-Valid-Until=false",
		"Acquire::GzipIndexes=true", "Acquire::AllowReleaseInfoChange=true",
		"Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false", "Acquire::IndexTargets::deb::CNF::DefaultEnabled=false",
	}}
	if l.repository == "" {
		return f(get)
	}
	list := filepath.Join(dir, "sources.list")
	get.Options = append(get.Options, "Dir::Etc::SourceParts=-", "Dir::Etc::SourceList="+list)
	if err := l.writeSources(list); err != nil {
		return err
	}
	return f(get)
}

func (l *Lists) writeSources(path string) error {
	if before, _ := os.ReadFile(path); string(before) == l.sources {
		return nil
	}
	// The lists are those of another repository.
	if err := os.Remove(l.stamp()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.WriteFile(path, []byte(l.sources), 0o644)
}
