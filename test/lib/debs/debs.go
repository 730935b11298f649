// Package debs gives tests single Debian packages of any suite and architecture, and their
// sources.
//
// apt fetches them with its own lists for each suite and architecture (emu/apt), which stay in the
// cache; the packages are fixtures.
package debs

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"binproxy/test/lib/fixture"
)

// Packages are packages of an architecture (Debian's name) and a suite.
type Packages struct {
	Suite, Arch string
	Names       []string
}

// Of gives the packages of these names.
func Of(suite, arch string, names ...string) Packages {
	return Packages{Suite: suite, Arch: arch, Names: names}
}

func (p Packages) String() string {
	return fmt.Sprintf("%s of Debian %s for %s", strings.Join(p.Names, " and "), p.Suite, p.Arch)
}

// From is the From of a fixture that is made from the packages, and from more.
func (p Packages) From(more ...string) []string {
	return slices.Concat([]string{p.Suite, p.Arch}, p.Names, more)
}

// Download puts the packages into a directory and returns the paths of the files, in the order of
// the names. The processes that it starts keep the fixture's lock, held.
func (p Packages) Download(ctx context.Context, dir string, held *os.File) ([]string, error) {
	l, err := packages(ctx, p.Suite, p.Arch)
	if err != nil {
		return nil, err
	}
	l.Keep = []*os.File{held}
	return l.Download(ctx, dir, p.Names...)
}

// Unpack fetches the packages and unpacks them into one directory. The packages themselves go into
// work.
func (p Packages) Unpack(ctx context.Context, work, dir string, held *os.File) error {
	files, err := p.Download(ctx, work, held)
	if err != nil {
		return err
	}
	for _, file := range files {
		if err := extract(ctx, file, dir, held); err != nil {
			return err
		}
	}
	return nil
}

func extract(ctx context.Context, file, dir string, held *os.File) error {
	return run(ctx, held, "dpkg-deb", "-x", file, dir)
}

func run(ctx context.Context, held *os.File, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.ExtraFiles = []*os.File{held}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", program, err, out)
	}
	return nil
}

// Unpacked returns a directory with the files of a package of amd64. Tests share it, and do not
// change it. It skips the test if the package cannot be fetched.
func Unpacked(t testing.TB, suite, name string) string {
	t.Helper()
	return UnpackedFor(t, suite, "amd64", name)
}

// UnpackedFor is Unpacked for another architecture (Debian's name).
func UnpackedFor(t testing.TB, suite, arch, name string) string {
	t.Helper()
	return unpacked(suite, arch, name).For(t)
}

// File returns a package as a file, which tests share. It skips the test if the package cannot be
// fetched.
func File(t testing.TB, suite, arch, name string) string {
	t.Helper()
	return file(suite, arch, name).For(t)
}

func unpacked(suite, arch, name string) *fixture.Fixture {
	f, deb := single(suite, arch, name), file(suite, arch, name)
	f.Make = func(ctx context.Context, _, made string, held *os.File) error {
		path, err := deb.Get(ctx)
		if err != nil {
			return err
		}
		return extract(ctx, path, made, held)
	}
	return f
}

func file(suite, arch, name string) *fixture.Fixture {
	f := single(suite, arch, name)
	f.Ext = ".deb"
	f.Make = func(ctx context.Context, work, made string, held *os.File) error {
		files, err := Of(suite, arch, name).Download(ctx, work, held)
		if err != nil {
			return err
		}
		return os.Rename(files[0], made)
	}
	return f
}

// single is the fixture of one package, not made yet.
func single(suite, arch, name string) *fixture.Fixture {
	p := Of(suite, arch, name)
	return &fixture.Fixture{Name: "debs/" + suite + "-" + arch + "/" + name, What: "package " + p.String(), From: p.From()}
}

// Source returns a directory with the upstream source of a package, which tests share. It skips
// the test if the source cannot be fetched.
func Source(t testing.TB, suite, name string) string {
	t.Helper()
	f := fixture.Fixture{Name: "debs/" + suite + "-source/" + name, What: "the source of Debian's " + name, From: []string{suite, name}}
	f.Make = func(ctx context.Context, work, made string, held *os.File) error {
		l, err := sources(ctx, suite)
		if err != nil {
			return err
		}
		l.Keep = []*os.File{held}
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
		return run(ctx, held, "tar", "-C", made, "--strip-components=1", "-xf", found[0])
	}
	return f.For(t)
}
