// Package debs gives tests single Debian packages of any suite and architecture.
//
// apt fetches them with lists of its own for each suite and architecture, which stay in the cache: what the machine's apt knows and installs is
// not touched.
package debs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"binproxy/test/lab"
	"binproxy/test/need"
)

// keyring has the keys of all suites (package debian-archive-keyring, which apt depends on in Debian).
const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// Unpacked returns a directory with the files of a package of amd64. It is shared: tests do not change it. The test is skipped where the
// package cannot be fetched.
func Unpacked(t testing.TB, suite, name string) string {
	t.Helper()
	return Made(t, filepath.Join("debs", suite, name), fmt.Sprintf("package %s of Debian %s", name, suite), func(ctx context.Context, work, made string) error {
		return Unpack(ctx, suite, "amd64", work, made, name)
	})
}

// Unpack fetches packages of an architecture (Debian's name) and unpacks them into one directory. The packages themselves go into work.
func Unpack(ctx context.Context, suite, arch, work, dir string, names ...string) error {
	files, err := Download(ctx, suite, arch, work, names...)
	if err != nil {
		return err
	}
	for _, file := range files {
		if out, err := exec.CommandContext(ctx, "dpkg-deb", "-x", file, dir).CombinedOutput(); err != nil {
			return fmt.Errorf("dpkg-deb: %w\n%s", err, out)
		}
	}
	return nil
}

// Made returns a directory or a file of the cache, which fill makes where it is not there yet: it gets a directory to work in, which is removed
// afterwards, and the name of what to make. The test is skipped, for want of what, where that fails.
func Made(t testing.TB, name, what string, fill func(ctx context.Context, work, made string) error) string {
	t.Helper()
	cache, err := lab.Cache()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, name)
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	need.Program(t, "apt-get", "apt")
	need.Program(t, "dpkg-deb", "dpkg")
	if err := makeOnce(t.Context(), dir, fill); err != nil {
		need.Installed(t, false, fmt.Sprintf("%s: %v", what, err))
	}
	return dir
}

func makeOnce(ctx context.Context, dir string, fill func(ctx context.Context, work, made string) error) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	lock, err := lab.Lock(dir + ".lock")
	if err != nil {
		return err
	}
	defer lock.Close()
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err // another process has made it
	}
	work, err := os.MkdirTemp(filepath.Dir(dir), "fetch-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	made := filepath.Join(work, "made")
	if err := fill(ctx, work, made); err != nil {
		return err
	}
	return os.Rename(made, dir)
}

// Download puts packages of an architecture (Debian's name) into a directory and returns the paths of the files.
func Download(ctx context.Context, suite, arch, dir string, names ...string) ([]string, error) {
	if err := fetch(ctx, "deb", suite, arch, dir, append([]string{"download"}, names...)); err != nil {
		return nil, err
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil || len(found) != len(names) {
		return nil, errors.Join(err, fmt.Errorf("apt-get download gave %d packages of %d", len(found), len(names)))
	}
	return found, nil
}

// Source returns a directory with the upstream source of a package, which is shared. The test is skipped where it cannot be fetched.
func Source(t testing.TB, suite, name string) string {
	t.Helper()
	return Made(t, filepath.Join("debs", "source", suite, name), fmt.Sprintf("the source of Debian's %s", name), func(ctx context.Context, work, made string) error {
		if err := fetch(ctx, "deb-src", suite, "amd64", work, []string{"source", "--download-only", name}); err != nil {
			return err
		}
		found, err := filepath.Glob(filepath.Join(work, "*.orig.tar.*"))
		if err != nil {
			return err
		}
		found = slices.DeleteFunc(found, func(name string) bool { return strings.HasSuffix(name, ".asc") })
		if len(found) != 1 {
			return fmt.Errorf("apt-get source gave %d archives of upstream", len(found))
		}
		if err := os.Mkdir(made, 0o755); err != nil {
			return err
		}
		if out, err := exec.CommandContext(ctx, "tar", "-C", made, "--strip-components=1", "-xf", found[0]).CombinedOutput(); err != nil {
			return fmt.Errorf("tar: %w\n%s", err, out)
		}
		return nil
	})
}

// fetch calls apt-get in a directory, with lists of a suite's packages of an architecture, or sources.
func fetch(ctx context.Context, kind, suite, arch, dir string, args []string) error {
	cache, err := lab.Cache()
	if err != nil {
		return err
	}
	state := filepath.Join(cache, "debs", "apt", suite+"-"+arch)
	if kind == "deb-src" {
		state = filepath.Join(cache, "debs", "apt", suite+"-source")
	}
	if err := os.MkdirAll(state, 0o755); err != nil {
		return err
	}
	lock, err := lab.Lock(state + ".lock")
	if err != nil {
		return err
	}
	defer lock.Close()
	apt, err := newApt(ctx, kind, suite, arch, state)
	if err != nil {
		return err
	}
	if apt.run(ctx, dir, args...) == nil {
		return nil
	}
	// The mirror may have newer versions than the lists that were kept, or there are none yet.
	if err := apt.run(ctx, state, "update"); err != nil {
		return err
	}
	return apt.run(ctx, dir, args...)
}

// apt is apt-get with a configuration of its own.
type apt []string

// newApt writes the configuration for a suite's packages of an architecture, or sources.
func newApt(ctx context.Context, kind, suite, arch, state string) (apt, error) {
	mirror, err := lab.Mirror(ctx)
	if err != nil || mirror == "" {
		return nil, errors.Join(err, errors.New("the machine's apt names no Debian mirror"))
	}
	for _, d := range []string{"lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(state, d), 0o755); err != nil {
			return nil, err
		}
	}
	list := filepath.Join(state, "sources.list")
	line := fmt.Sprintf("%s [signed-by=%s] %s %s main\n", kind, keyring, mirror, suite)
	if err := os.WriteFile(list, []byte(line), 0o644); err != nil {
		return nil, err
	}
	a := apt{"-q"}
	for _, o := range []string{
		"Dir::Etc::SourceList=" + list, "Dir::Etc::SourceParts=-", "Dir::State::Lists=" + filepath.Join(state, "lists"),
		"Dir::State::status=/dev/null", "Dir::Cache=" + filepath.Join(state, "cache"), "APT::Sandbox::User=",
		"APT::Architecture=" + arch, "APT::Architectures::=" + arch, "Acquire::Languages=none",
		"Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
	} {
		a = append(a, "-o", o)
	}
	return a, nil
}

func (a apt) run(ctx context.Context, dir string, args ...string) error {
	cmd := exec.CommandContext(ctx, "apt-get", append(a[:len(a):len(a)], args...)...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get %s: %w\n%s", args[0], err, out)
	}
	return nil
}
