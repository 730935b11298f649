// Command frontend is `make frontend`: it writes an OCI layout with the image of the BuildKit
// frontend (docs/frontend.md), for workers of one or several architectures. It needs no Docker
// engine.
//
// For each of these hosts it builds the frontend and binproxy, and has that binproxy make a bundle
// for each guest (binproxy bundle), under an emulator if the host is not this machine's. The
// emulators for this machine are the ones that binproxy bundle finds. Those for other hosts come
// from Debian, unless a directory is named.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"binproxy/emu/arch"
	"binproxy/emu/emulator"
)

// options are the user's choices.
type options struct {
	out       string
	hosts     []string          // GOARCH, which is OCI's name, too
	guests    []string          // OCI's names; empty for every guest that has an emulator
	emulators map[string]string // GOARCH to a directory
}

func main() {
	o := options{emulators: map[string]string{}}
	list := func(into *[]string) func(string) error {
		return func(value string) error {
			*into = strings.Split(value, ",")
			return nil
		}
	}
	o.hosts = []string{"amd64", "arm64"}
	flag.StringVar(&o.out, "o", "dist/frontend", "`DIR` where to; what is there is replaced if it is such a layout")
	flag.Func("hosts", "`ARCH[,ARCH]` architectures of workers (default amd64,arm64)", list(&o.hosts))
	flag.Func("guests", "`ARCH[,ARCH...]` architectures of images, by OCI's names (default all that there are emulators for)", list(&o.guests))
	flag.Func("emulators", "`ARCH=DIR` emulators that run on hosts of this architecture, instead of this machine's or Debian's", func(value string) error {
		host, dir, found := strings.Cut(value, "=")
		if !found {
			return errors.New("it is ARCH=DIR")
		}
		dir, err := filepath.Abs(dir)
		o.emulators[host] = dir
		return err
	})
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := o.make(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "frontend:", err)
		os.Exit(1)
	}
}

// make makes the image of each host in a temporary directory, and writes the layout.
func (o options) make(ctx context.Context) error {
	if flag.NArg() > 0 {
		return fmt.Errorf("%q is one word too many", flag.Arg(0))
	}
	work, err := os.MkdirTemp("", "binproxy-frontend-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	native := filepath.Join(work, "binproxy")
	if err := build(ctx, runtime.GOARCH, native); err != nil {
		return err
	}
	var images []image
	for _, goarch := range o.hosts {
		h := host{goarch: goarch, dir: filepath.Join(work, goarch), emulators: o.emulators[goarch], native: native}
		if err := h.fill(ctx, o.guests); err != nil {
			return fmt.Errorf("for %s hosts: %w", goarch, err)
		}
		images = append(images, image{goarch, filepath.Join(h.dir, "root")})
	}
	return write(o.out, images)
}

// build builds binproxy.
func build(ctx context.Context, goarch, to string) error {
	return run(ctx, "", []string{"GOARCH=" + goarch}, "scripts/build", to)
}

// run runs a command in a directory, with extra variables in the environment.
func run(ctx context.Context, dir string, env []string, command ...string) error {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(command, " "), err, out)
	}
	return nil
}

// A host is an architecture of workers. The files of its image are below dir/root.
type host struct {
	goarch, dir string
	emulators   string // a directory, "" for this machine's or Debian's
	native      string // binproxy for this machine
}

func (h host) fill(ctx context.Context, guests []string) error {
	fmt.Fprintf(os.Stderr, "frontend: for %s hosts: the frontend, binproxy\n", h.goarch)
	root := filepath.Join(h.dir, "root")
	if err := os.MkdirAll(filepath.Join(root, "bundles"), 0o755); err != nil {
		return err
	}
	if err := run(ctx, "frontend", []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=" + h.goarch, "GOFLAGS=", "GOWORK=off"},
		"go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", filepath.Join(root, "frontend"), "."); err != nil {
		return err
	}
	self := h.native
	if h.goarch != runtime.GOARCH {
		self = filepath.Join(h.dir, "binproxy")
		if err := build(ctx, h.goarch, self); err != nil {
			return err
		}
	}
	dirs, err := h.search(ctx)
	if err != nil {
		return err
	}
	return h.bundles(ctx, self, dirs, guests)
}

// bundles has the host's binproxy make a bundle for each guest that is not the host.
func (h host) bundles(ctx context.Context, self string, dirs, guests []string) error {
	made := map[string]bool{h.goarch: true, "386": h.goarch == "amd64"}
	for _, abi := range arch.All() {
		if len(abi.Platforms) == 0 {
			continue
		}
		name, _, _ := strings.Cut(abi.Platforms[0], "/")
		if made[name] || len(guests) > 0 && !slices.Contains(guests, name) {
			continue
		}
		path, err := emulator.Find(abi, dirs)
		if err != nil {
			fmt.Fprintf(os.Stderr, "frontend: for %s hosts: without %s: %v\n", h.goarch, name, err)
			continue
		}
		// If it is another machine's program, this machine's binproxy finds its emulator.
		if err := run(ctx, "", nil, h.native, "run", "--", self, "bundle", "--arch", abi.Name,
			"--emulator", abi.QEMU+"="+path, "-o", filepath.Join(h.dir, "root", "bundles", name)); err != nil {
			return err
		}
		made[name] = true
	}
	for _, name := range guests {
		if !made[name] {
			return fmt.Errorf("no bundle for %s", name)
		}
	}
	return nil
}
