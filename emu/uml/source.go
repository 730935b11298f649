package uml

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"binproxy/emu/apt"
)

// oldest is the oldest series that a build chooses by itself: from it on, kernels have room for
// the registers of every CPU, and the seccomp mode.
const oldest = "6.16"

// hostArch is Debian's name of the hosts that have User Mode Linux.
const hostArch = "amd64"

// sourcePrefix is the start of the names of packages with a kernel's source.
const sourcePrefix = "linux-source-"

// A place is where packages are searched: suites of Debian or, if it names none, the machine's own
// sources.
type place struct {
	name   string
	suites []string
}

var (
	ownSources  = place{name: "the machine's own sources"}
	backports   = place{"Debian's backports", []string{"stable-backports"}}
	nextRelease = place{"Debian's next release", []string{"testing"}}
	unstable    = place{"Debian's unstable", []string{"unstable"}}
)

// debianLists is a variable for tests, which have their own archive.
var debianLists = apt.Debian

// lists are the package lists of a place, kept in the cache for the next build.
func (b *builder) lists(p place) (*apt.Lists, error) {
	if err := haveTools(slices.Concat(apt.Programs, [][2]string{{"dpkg-deb", "dpkg"}})); err != nil {
		return nil, err
	}
	dir := filepath.Join(b.cache, "apt")
	if len(p.suites) == 0 {
		return apt.Machine(filepath.Join(dir, "machine"), hostArch), nil
	}
	return debianLists(b.ctx, filepath.Join(dir, strings.Join(p.suites, "+")), hostArch, p.suites...)
}

// find searches one place after another for a package.
func (b *builder) find(places []place, look func(*apt.Lists) (*debian, error)) (*debian, error) {
	var said []string
	for _, p := range places {
		lists, err := b.lists(p)
		var d *debian
		if err == nil {
			d, err = look(lists)
		}
		if err == nil {
			d.lists = lists
			return d, nil
		}
		said = append(said, fmt.Sprintf("%s: %v", p.name, err))
	}
	return nil, errors.New(strings.Join(said, "; "))
}

// debian is a package that was found.
type debian struct {
	lists         *apt.Lists
	name, version string
}

// release returns the kernel's release from the version of its source package: 7.3.4 from
// 7.3.4-1~bpo13+1.
func (d *debian) release() string {
	release, _, _ := strings.Cut(d.version, "-")
	return release
}

// sourcePackage finds the package of the requested series, or of the newest.
func (b *builder) sourcePackage() (*debian, error) {
	places, look := []place{backports, nextRelease}, func(l *apt.Lists) (*debian, error) { return newestSource(b.ctx, l) }
	if b.options.Version != "" {
		places = []place{backports, ownSources, nextRelease}
		look = func(l *apt.Lists) (*debian, error) { return named(b.ctx, l, sourcePrefix+b.options.Version) }
	}
	d, err := b.find(places, look)
	if err != nil {
		return nil, fmt.Errorf("no package of a kernel's source: %w; name a kernel's source, a tar file, with --source FILE", err)
	}
	return d, err
}

func named(ctx context.Context, l *apt.Lists, name string) (*debian, error) {
	version, err := l.Version(ctx, name)
	return &debian{name: name, version: version}, err
}

// newestSource finds the newest series from oldest on.
func newestSource(ctx context.Context, l *apt.Lists) (*debian, error) {
	names, err := l.Names(ctx, "^"+sourcePrefix+"[0-9.]+$")
	if err != nil {
		return nil, err
	}
	newest := ""
	for _, name := range names {
		if series := strings.TrimPrefix(name, sourcePrefix); compareReleases(series, oldest) >= 0 && compareReleases(series, newest) > 0 {
			newest = series
		}
	}
	if newest == "" {
		return nil, fmt.Errorf("no %s%s or later: %w", sourcePrefix, oldest, apt.ErrNoPackage)
	}
	return named(ctx, l, sourcePrefix+newest)
}

// download loads a package's file into the work directory.
func (b *builder) download(d *debian, more ...string) ([]string, error) {
	b.progress("download %s %s", d.name, d.version)
	return d.lists.Download(b.ctx, b.work, append([]string{d.name}, more...)...)
}

// archive loads the package with the kernel's source, and returns the tar file in it. It removes
// each file as soon as it is not needed: each of the two has 160 MB.
func (b *builder) archive(d *debian) (string, error) {
	debs, err := b.download(d)
	if err != nil {
		return "", err
	}
	if err := b.command(b.work, "dpkg-deb", "-x", debs[0], "package"); err != nil {
		return "", err
	}
	if err := os.Remove(debs[0]); err != nil {
		return "", err
	}
	archive := filepath.Join(b.work, "package/usr/src", d.name+".tar.xz")
	if _, err := os.Stat(archive); err != nil {
		return "", fmt.Errorf("the package %s %s has no usr/src/%s.tar.xz; name a kernel's source with --source FILE", d.name, d.version, d.name)
	}
	return archive, nil
}

// unused are parts of the source that no such kernel uses and that contain no Kconfig file; they
// are the larger part of the source.
var unused = []string{"*/Documentation/*.rst", "*/Documentation/*.yaml", "*/tools/testing/*", "*/tools/perf/*", "*.dts", "*.dtsi", "*/rust/*.rs",
	"*/drivers/gpu/drm/*.[ch]", "*/drivers/net/*/*/*.[ch]", "*/drivers/media/*.[ch]", "*/drivers/scsi/*.[ch]", "*/drivers/clk/*.[ch]",
	"*/drivers/pinctrl/*.[ch]", "*/drivers/usb/*.[ch]", "*/drivers/accel/*.[ch]", "*/drivers/infiniband/*.[ch]", "*/drivers/iio/*.[ch]",
	"*/drivers/staging/*.[ch]", "*/drivers/video/*.[ch]", "*/drivers/hwmon/*.[ch]", "*/sound/*.[ch]"}

// unpack unpacks the source into the directory src of the work directory. All processors unpack an
// xz file of several blocks.
func (b *builder) unpack(archive string) error {
	archive, err := filepath.Abs(archive)
	if err != nil {
		return err
	}
	b.progress("unpack %s", filepath.Base(archive))
	if err := os.Mkdir(filepath.Join(b.work, "src"), 0o755); err != nil {
		return err
	}
	args := []string{"XZ_DEFAULTS=-T0", "tar", "-xf", archive, "-C", "src", "--strip-components=1", "--wildcards"}
	for _, pattern := range unused {
		args = append(args, "--exclude="+pattern)
	}
	return b.command(b.work, "env", args...)
}
