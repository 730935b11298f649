package host

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"binproxy/emu/apt"
	"binproxy/emu/arch"
	"binproxy/emu/emulator"
)

// These are the sources of other hosts' emulators.
const (
	suite         = "bookworm"
	debianPackage = "qemu-user-static"
)

// search returns the directories of the host's emulators.
func (h Host) search(ctx context.Context) ([]string, error) {
	switch {
	case h.Emulators != "":
		return []string{h.Emulators}, nil
	case h.Package == "" && h.GOARCH == runtime.GOARCH:
		return emulator.Dirs(filepath.Dir(h.Native)), nil
	}
	file := h.Package
	if file == "" {
		var err error
		if file, err = h.Fetch(ctx); err != nil {
			return nil, fmt.Errorf("%w; --emulators %s=DIR names a directory that has them", err, h.GOARCH)
		}
	}
	if err := os.MkdirAll(h.unpacked(), 0o755); err != nil {
		return nil, err
	}
	return []string{filepath.Join(h.unpacked(), "usr", "bin")}, Run(ctx, "", nil, "dpkg-deb", "-x", file, h.unpacked())
}

func (h Host) unpacked() string { return filepath.Join(h.Dir, "debian") }

// Fetch brings Debian's package of emulators for the host.
func (h Host) Fetch(ctx context.Context) (string, error) {
	fmt.Fprintf(os.Stderr, "for %s hosts: Debian's %s\n", h.GOARCH, debianPackage)
	abi, err := arch.Parse(h.GOARCH)
	if err != nil {
		return "", err
	}
	lists, err := apt.Debian(ctx, filepath.Join(h.Dir, "apt"), abi.Debian, suite)
	if err != nil {
		return "", err
	}
	files, err := lists.Download(ctx, h.Dir, debianPackage)
	if err != nil {
		return "", err
	}
	return files[0], nil
}

// An Origin is where emulators of Debian's package come from, for those who get them from us.
type Origin struct {
	Package, Version string
	Source, Of       string // the source package, and its version
	Licence          []byte // the package's copyright file
}

// Origin reads the unpacked package; Guests comes first.
func (h Host) Origin(ctx context.Context) (Origin, error) {
	format := "${Package}\n${Version}\n${source:Package}\n${source:Version}\n"
	out, err := exec.CommandContext(ctx, "dpkg-deb", "--show", "--showformat="+format, h.Package).Output()
	if err != nil {
		return Origin{}, fmt.Errorf("%s: %w", h.Package, err)
	}
	said := strings.Fields(string(out))
	if len(said) != 4 {
		return Origin{}, fmt.Errorf("%s: dpkg-deb says %q", h.Package, out)
	}
	licence, err := os.ReadFile(filepath.Join(h.unpacked(), "usr/share/doc", said[0], "copyright"))
	return Origin{said[0], said[1], said[2], said[3], licence}, err
}

// Offer says where the source is.
func (o Origin) Offer() string {
	return fmt.Sprintf("The emulators (qemu-*) are those of Debian's package %s %s, unchanged.\n"+
		"Their licences are in COPYRIGHT.qemu. Their complete source is Debian's source package\n\n    %s %s\n\n"+
		"which every mirror of Debian's archive offers at no charge, and Debian's archive of\nsnapshots for good: apt-get source %[3]s=%[4]s\n",
		o.Package, o.Version, o.Source, o.Of)
}
