package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

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
func (h host) search(ctx context.Context) ([]string, error) {
	switch {
	case h.emulators != "":
		return []string{h.emulators}, nil
	case h.goarch == runtime.GOARCH:
		return emulator.Dirs(filepath.Dir(h.native)), nil
	}
	fmt.Fprintf(os.Stderr, "frontend: for %s hosts: Debian's %s\n", h.goarch, debianPackage)
	unpacked := filepath.Join(h.dir, "debian")
	if err := h.fetch(ctx, unpacked); err != nil {
		return nil, fmt.Errorf("%w; --emulators %s=DIR names a directory that has them", err, h.goarch)
	}
	return []string{filepath.Join(unpacked, "usr", "bin")}, nil
}

// fetch unpacks Debian's emulators for the host.
func (h host) fetch(ctx context.Context, to string) error {
	abi, err := arch.Parse(h.goarch)
	if err != nil {
		return err
	}
	lists, err := apt.Debian(ctx, filepath.Join(h.dir, "apt"), abi.Debian, suite)
	if err != nil {
		return err
	}
	files, err := lists.Download(ctx, h.dir, debianPackage)
	if err != nil {
		return err
	}
	return run(ctx, "", nil, "dpkg-deb", "-x", files[0], to)
}
