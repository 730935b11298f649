// Package host makes what an image contains for hosts of one architecture: binproxy, and a bundle
// for each guest. Other hosts' bundles are made by their own binproxy, under an emulator.
package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"binproxy/emu/arch"
	"binproxy/emu/emulator"
)

// A Host is an architecture of machines that build and run images.
type Host struct {
	GOARCH, Dir string // Dir is for temporary files
	Native      string // binproxy for this machine

	// Where the emulators are: in a directory, or in a file of Debian's package. With neither they
	// are this machine's, or for another host Debian's.
	Emulators, Package string
}

// Build builds binproxy.
func Build(ctx context.Context, goarch, to string) error {
	return Run(ctx, "", []string{"GOARCH=" + goarch}, "scripts/build", to)
}

// BuildFrontend builds a program of the module frontend/.
func BuildFrontend(ctx context.Context, goarch, pkg, to string) error {
	return Run(ctx, "frontend", []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=" + goarch, "GOFLAGS=", "GOWORK=off"},
		"go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", to, pkg)
}

// Run runs a command in a directory, with extra variables in the environment.
func Run(ctx context.Context, dir string, env []string, command ...string) error {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(command, " "), err, out)
	}
	return nil
}

// Program builds the host's binproxy, unless it is there.
func (h Host) Program(ctx context.Context) (string, error) {
	if h.GOARCH == runtime.GOARCH {
		return h.Native, nil
	}
	self := filepath.Join(h.Dir, "binproxy")
	if _, err := os.Stat(self); err == nil {
		return self, nil
	}
	return self, errors.Join(os.MkdirAll(h.Dir, 0o755), Build(ctx, h.GOARCH, self))
}

// Call has the host's binproxy do something. If it is another machine's program, this machine's
// binproxy finds its emulator.
func (h Host) Call(ctx context.Context, args ...string) error {
	self, err := h.Program(ctx)
	if err != nil {
		return err
	}
	return Run(ctx, "", nil, append([]string{h.Native, "run", "--", self}, args...)...)
}

// A Guest is an architecture of images that there is an emulator for. Name is OCI's, without a
// variant.
type Guest struct {
	Name     string
	ABI      *arch.ABI
	Emulator string // the emulator's file
}

// Guests lists the guests that are not the host, or those of them that are wanted.
func (h Host) Guests(ctx context.Context, wanted []string) ([]Guest, error) {
	dirs, err := h.search(ctx)
	if err != nil {
		return nil, err
	}
	var guests []Guest
	made := map[string]bool{h.GOARCH: true, "386": h.GOARCH == "amd64"}
	for _, abi := range arch.All() {
		if len(abi.Platforms) == 0 {
			continue
		}
		name, _, _ := strings.Cut(abi.Platforms[0], "/")
		if made[name] || len(wanted) > 0 && !slices.Contains(wanted, name) {
			continue
		}
		path, err := emulator.Find(abi, dirs)
		if err != nil {
			fmt.Fprintf(os.Stderr, "for %s hosts: without %s: %v\n", h.GOARCH, name, err)
			continue
		}
		guests = append(guests, Guest{name, abi, path})
		made[name] = true
	}
	for _, name := range wanted {
		if !made[name] {
			return nil, fmt.Errorf("no emulator for %s", name)
		}
	}
	return guests, nil
}

// Bundles makes a bundle for each guest, below to.
func (h Host) Bundles(ctx context.Context, to string, guests []Guest) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	for _, g := range guests {
		if err := h.Call(ctx, "bundle", "--arch", g.ABI.Name, "--emulator", g.ABI.QEMU+"="+g.Emulator, "-o", filepath.Join(to, g.Name)); err != nil {
			return err
		}
	}
	return nil
}
