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
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"binproxy/scripts/host"
	"binproxy/scripts/image"
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
	if err := host.Build(ctx, runtime.GOARCH, native); err != nil {
		return err
	}
	var images []image.Image
	for _, goarch := range o.hosts {
		h := host.Host{GOARCH: goarch, Dir: filepath.Join(work, goarch), Emulators: o.emulators[goarch], Native: native}
		root := filepath.Join(h.Dir, "root")
		if err := fill(ctx, h, root, o.guests); err != nil {
			return fmt.Errorf("for %s hosts: %w", goarch, err)
		}
		images = append(images, image.Image{GOARCH: goarch, Root: root, By: "make frontend",
			Config: v1.Config{Entrypoint: []string{"/frontend"}, Labels: labels}})
	}
	hash, err := image.Write(o.out, images, false)
	if err == nil {
		fmt.Printf("%s@%s\n", o.out, hash)
	}
	return err
}

// labels are what BuildKit reads before it starts a frontend: that it needs no network, and its
// capabilities. They are the labels of BuildKit's own image.
var labels = map[string]string{
	"moby.buildkit.frontend.network.none": "true",
	"moby.buildkit.frontend.caps": "moby.buildkit.frontend.inputs,moby.buildkit.frontend.subrequests," +
		"moby.buildkit.frontend.contexts,moby.buildkit.frontend.gitquerystring,moby.buildkit.frontend.contexts.zstd",
}

// fill makes the files of the image for a host, below root.
func fill(ctx context.Context, h host.Host, root string, guests []string) error {
	fmt.Fprintf(os.Stderr, "frontend: for %s hosts: the frontend, binproxy\n", h.GOARCH)
	if err := host.BuildFrontend(ctx, h.GOARCH, ".", filepath.Join(root, "frontend")); err != nil {
		return err
	}
	list, err := h.Guests(ctx, guests)
	if err != nil {
		return err
	}
	return h.Bundles(ctx, filepath.Join(root, "bundles"), list)
}
