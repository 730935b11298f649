package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"sync"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/frontend/dockerui"
	"github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/solver/pb"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"

	"binproxy/frontend/rewrite"
)

// These are the places of the bundle and the twins in a container. /dev is the container's own
// tmpfs, so no mount point is made in the image.
const (
	mounted      = "/dev/.binproxy"
	mountedTwins = "/dev/.binproxy-twins"
)

// A changing client changes the commands in each request that it solves.
type changing struct {
	client.Client

	worker worker
	twins  string   // a named context or an image; "" for none
	flags  []string // of binproxy run

	once struct {
		sync.Mutex
		bundles, twins *pb.Definition
		warned         bool
	}
}

// newChanging reads the options, which the user has given as build arguments.
func newChanging(c client.Client) *changing {
	argument := func(name string) string { return c.BuildOpts().Opts["build-arg:BINPROXY_"+name] }
	changed := &changing{Client: c, worker: workerOf(c.BuildOpts().Workers, isSet(argument("ALWAYS")))}
	for _, flag := range []string{"release", "route"} {
		if value := argument(strings.ToUpper(flag)); value != "" {
			changed.flags = append(changed.flags, "--"+flag, value)
		}
	}
	if isSet(argument("SUMMARY")) {
		changed.flags = append(changed.flags, "--summary")
	}
	if changed.twins = argument("TWINS"); !isSet(changed.twins) {
		changed.twins = ""
	}
	return changed
}

// isSet reports whether a variable's value is not one of those that mean no.
func isSet(value string) bool {
	switch value {
	case "", "0", "off", "no", "false":
		return false
	}
	return true
}

// Solve changes the request's commands and passes the request on.
func (c *changing) Solve(ctx context.Context, request client.SolveRequest) (*client.Result, error) {
	if request.Definition != nil {
		def, err := rewrite.Commands(request.Definition, func(p *pb.Platform) (*rewrite.Change, error) { return c.change(ctx, p) })
		if err != nil {
			return nil, fmt.Errorf("binproxy: %w", err)
		}
		request.Definition = def
	}
	return c.Client.Solve(ctx, request)
}

// change returns the change for the commands of a platform.
func (c *changing) change(ctx context.Context, p *pb.Platform) (*rewrite.Change, error) {
	guest, is := c.worker.of(p)
	if is == registered {
		return nil, c.warn(ctx, guest)
	}
	if is != foreign {
		return nil, nil
	}
	if runtime.GOARCH != c.worker.native.Architecture {
		return nil, fmt.Errorf("this frontend's image is for %s workers, and the worker is %s", runtime.GOARCH, platforms.Format(c.worker.native))
	}
	if err := has(bundle(guest)); err != nil {
		return nil, fmt.Errorf("no emulator for %s: %w", platforms.Format(guest), err)
	}
	if err := c.resolve(ctx); err != nil {
		return nil, err
	}
	words := append([]string{mounted + "/binproxy", "run"}, c.flags...)
	mounts := []rewrite.Mount{{From: c.once.bundles, Selector: bundle(guest), Directory: mounted}}
	if c.once.twins != nil {
		words = append(words, "--twins", mountedTwins)
		mounts = append(mounts, rewrite.Mount{From: c.once.twins, Directory: mountedTwins})
	}
	return &rewrite.Change{Words: append(words, "--"), Mounts: mounts, Platform: c.worker.platform()}, nil
}

// warn warns once that the options have no effect on a platform that the worker's kernel runs.
func (c *changing) warn(ctx context.Context, guest ocispecs.Platform) error {
	c.once.Lock()
	defer c.once.Unlock()
	if c.once.warned || len(c.flags) == 0 && c.twins == "" {
		return nil
	}
	c.once.warned = true
	ui, err := dockerui.NewClient(c.Client)
	if err != nil {
		return err
	}
	dockerfile, err := ui.ReadEntrypoint(ctx, "Dockerfile") // shown with the warning
	if err != nil {
		return err
	}
	dockerfile.Warn(ctx, fmt.Sprintf("binproxy: the worker's kernel has an emulator for %s, which no BINPROXY_ option reaches; "+
		"BINPROXY_ALWAYS=1 has binproxy do it", platforms.Format(guest)), client.WarnOpts{Level: 1})
	return nil
}

// has reports whether the image, which is this process's root, has a bundle.
func has(dir string) error {
	_, err := os.Stat(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	entries, err := os.ReadDir(bundles)
	if err != nil {
		return err
	}
	var guests []string
	for _, e := range entries {
		guests = append(guests, e.Name())
	}
	return fmt.Errorf("this frontend's image has those of %s", strings.Join(guests, ", "))
}

// resolve finds the mounts, at the first command that needs them.
func (c *changing) resolve(ctx context.Context) (err error) {
	c.once.Lock()
	defer c.once.Unlock()
	if c.once.bundles == nil {
		if c.once.bundles, err = itself(ctx, c.Client, c.worker.native); err != nil {
			return err
		}
	}
	if c.twins != "" && c.once.twins == nil {
		if c.once.twins, err = named(ctx, c.Client, c.twins, c.worker.native); err != nil {
			return fmt.Errorf("BINPROXY_TWINS: %w", err)
		}
	}
	return nil
}
