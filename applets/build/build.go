// Package build is the applet by which a builder builds an unmodified Dockerfile for another
// architecture.
package build

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"binproxy/applets/applet"
	"binproxy/emu/arch"
	"binproxy/emu/builder"
	"binproxy/emu/bundle"
	"binproxy/emu/exit"
	"binproxy/shim/preload"
)

// Applet is the row of the table.
var Applet = applet.Applet{
	Name:     "build",
	Synopsis: "build an unmodified Dockerfile for another architecture, with this machine's builder",
	Text: `
Finds a builder (docker, buildctl, podman, buildah), chooses a way for it to run the image's
programs, and becomes the builder's command: output and exit status are the builder's own. All other
arguments (-t, -f, --target, --build-arg, --secret, --progress, --push, -o, the context) go to the
builder unchanged, and to buildctl translated.

  binproxy build --platform linux/arm64 -t image .

Nothing of binproxy is left in the image. docs/builders.md has the table of builders and plugs.
DOCKER_HOST, CONTAINER_HOST, BUILDKIT_HOST and BUILDAH_ISOLATION mean what they mean to the
builders.
`,
	Commands: []applet.Command{{Args: "[--platform P[,P...]] [FLAG...] ARGUMENT-OF-THE-BUILDER...", Others: true, Flags: flags}},
}

// options are the flags' values.
type options struct {
	request builder.Request
	plug    string
	archs   *string
	dryRun  bool
}

func flags(f applet.Flags) applet.Run {
	o := new(options)
	o.archs = f.Names("platform", "`P[,P...]` the image's platforms, as linux/arm64 (default: DOCKER_DEFAULT_PLATFORM, else the builder's own)")
	f.StringVar(&o.request.Builder, "builder", "", "`NAME` docker, buildctl, podman or buildah; any other name is a builder of docker's buildx (default: the first that takes a plug)")
	f.StringVar(&o.plug, "plug", "", "`PLUG` itself (what was set up at the builder), runtime (an OCI runtime of ours), run (the supervisor around the builder) or frontend (default: the best that the builder takes)")
	f.StringVar(&o.request.Frontend, "frontend", "", "`IMAGE` the image of binproxy's BuildKit frontend, which docker's or buildctl's daemon fetches (default: BINPROXY_FRONTEND)")
	f.StringVar(&o.request.Options.Release, "release", "", "`R` the kernel release for the image's programs, not for the builder")
	f.StringVar(&o.request.Options.Twins, "twins", "", "`auto|DIR|off` native programs that stand in for the image's (see binproxy help twin): auto packs the host's (default: off)")
	f.BoolVar(&o.request.Options.Summary, "summary", false, "print the costliest commands at the end of each RUN line")
	f.BoolVar(&o.dryRun, "dry-run", false, "print the command that would run, and run nothing")
	return o.run
}

func (o *options) run(rest []string) error {
	r := &o.request
	r.Rest = rest
	if err := o.read(os.Getenv); err != nil {
		return exit.Errorf(exit.Failed, "build: %w", err)
	}
	ctx := context.Background()
	own, err := o.own()
	if err != nil {
		return exit.Errorf(exit.Failed, "build: %w", err)
	}
	c, err := builder.Plan(*r, builder.Find(ctx, os.Getenv, r.Candidates()...), own, func(b builder.Builder, abi *arch.ABI) (bool, string) {
		return b.Proves(ctx, abi, r.Worker()...)
	})
	if err != nil {
		return exit.Errorf(exit.Failed, "build: %w", err)
	}
	fmt.Fprintf(os.Stderr, "binproxy: %s\n", c.Why)
	if o.dryRun {
		fmt.Println(c)
		return nil
	}
	if c.Plug == builder.Runtime || c.Plug == builder.Run {
		if err := own.Make(ctx); err != nil {
			return exit.Errorf(exit.Failed, "build: %w", err)
		}
	}
	err = unix.Exec(c.Path, c.Argv, append(os.Environ(), c.Env...))
	return exit.Errorf(exit.CannotRun, "build: %s: %w", c.Path, err)
}

// own gives the bundle for the plugs that need one.
func (o *options) own() (builder.Own, error) {
	self, err := os.Executable()
	if err != nil {
		return builder.Own{}, err
	}
	var extra []bundle.Extra
	for _, f := range preload.Tree(preload.Libraries(), arch.Host(), o.request.Foreign) {
		extra = append(extra, bundle.Extra(f))
	}
	return builder.NewOwn(o.request, self, extra)
}

// read reads the request from the flags and the environment.
func (o *options) read(getenv func(string) string) error {
	r := &o.request
	switch r.Plug = builder.Plug(o.plug); r.Plug {
	case "", builder.Itself, builder.Runtime, builder.Run, builder.Frontend:
	default:
		return fmt.Errorf("--plug %s: there are itself, runtime, run and frontend", o.plug)
	}
	r.Frontend = cmp.Or(r.Frontend, getenv("BINPROXY_FRONTEND"))
	names := *o.archs
	if names == "" {
		names = getenv("DOCKER_DEFAULT_PLATFORM")
	}
	if names == "" {
		return nil
	}
	abis, err := arch.ParseList(names)
	if err != nil {
		return err
	}
	for name := range strings.SplitSeq(names, ",") {
		if abi, err := arch.Parse(name); err == nil && !strings.HasPrefix(name, "linux/") {
			name = abi.Platform() // the builders know no other names
		}
		r.Platforms = append(r.Platforms, name)
	}
	for _, abi := range abis {
		if !abi.Native(arch.Host()) {
			r.Foreign = append(r.Foreign, abi)
		}
	}
	return nil
}
