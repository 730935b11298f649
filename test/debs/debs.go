// Package debs gives tests single Debian packages of any suite and architecture.
//
// apt fetches them with lists of its own for each suite and architecture, which stay in the
// cache: what the machine's apt knows and installs is not touched. A mirror that hiccups is asked
// again, and what it has replaced since the lists were read is found in new ones. Whatever is in
// the cache is whole: it is made beside its place, and renamed.
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

// Unpacked returns a directory with the files of a package of amd64. It is shared: tests do not
// change it. The test is skipped where the package cannot be fetched.
func Unpacked(t testing.TB, suite, name string) string {
	t.Helper()
	return UnpackedFor(t, suite, "amd64", name)
}

// UnpackedFor is Unpacked for another architecture (Debian's name).
func UnpackedFor(t testing.TB, suite, arch, name string) string {
	t.Helper()
	file := File(t, suite, arch, name)
	return Made(t, strings.TrimSuffix(place(suite, arch, name), ".deb"), what(suite, arch, name), func(ctx context.Context, _, made string) error {
		return extract(ctx, file, made)
	})
}

// File returns a package as a file, which is shared. The test is skipped where it cannot be
// fetched.
func File(t testing.TB, suite, arch, name string) string {
	t.Helper()
	return Made(t, place(suite, arch, name), what(suite, arch, name), func(ctx context.Context, work, made string) error {
		files, err := Download(ctx, suite, arch, work, name)
		if err != nil {
			return err
		}
		return os.Rename(files[0], made)
	})
}

func place(suite, arch, name string) string {
	return filepath.Join("debs", suite+"-"+arch, name+".deb")
}

func what(suite, arch, name string) string {
	return fmt.Sprintf("package %s of Debian %s for %s", name, suite, arch)
}

// Unpack fetches packages of an architecture (Debian's name) and unpacks them into one directory.
// The packages themselves go into work.
func Unpack(ctx context.Context, suite, arch, work, dir string, names ...string) error {
	files, err := Download(ctx, suite, arch, work, names...)
	if err != nil {
		return err
	}
	for _, file := range files {
		if err := extract(ctx, file, dir); err != nil {
			return err
		}
	}
	return nil
}

func extract(ctx context.Context, file, dir string) error {
	if out, err := exec.CommandContext(ctx, "dpkg-deb", "-x", file, dir).CombinedOutput(); err != nil {
		return fmt.Errorf("dpkg-deb: %w\n%s", err, out)
	}
	return nil
}

// Made returns a directory or a file of the cache, which fill makes where it is not there yet: it
// gets a directory to work in, which is removed afterwards, and the name of what to make. The
// test is skipped, for want of what, where that fails.
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
	// Under the lock nobody else uses it: what is there was left by a process that was killed.
	work := dir + ".partial"
	if err := os.RemoveAll(work); err != nil {
		return err
	}
	if err := os.Mkdir(work, 0o755); err != nil {
		return err
	}
	defer os.RemoveAll(work)
	made := filepath.Join(work, "made")
	if err := fill(ctx, work, made); err != nil {
		return err
	}
	return os.Rename(made, dir)
}

// Download puts packages of an architecture (Debian's name) into a directory and returns the
// paths of the files.
func Download(ctx context.Context, suite, arch, dir string, names ...string) ([]string, error) {
	l, err := packages(ctx, suite, arch)
	if err != nil {
		return nil, err
	}
	return l.Download(ctx, dir, names...)
}

// Source returns a directory with the upstream source of a package, which is shared. The test is
// skipped where it cannot be fetched.
func Source(t testing.TB, suite, name string) string {
	t.Helper()
	return Made(t, filepath.Join("debs", "source", suite, name), fmt.Sprintf("the source of Debian's %s", name), func(ctx context.Context, work, made string) error {
		l, err := sources(ctx, suite)
		if err != nil {
			return err
		}
		files, err := l.Source(ctx, work, name)
		if err != nil {
			return err
		}
		found := slices.DeleteFunc(files, func(name string) bool {
			return !strings.Contains(name, ".orig.tar.") || strings.HasSuffix(name, ".asc")
		})
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
