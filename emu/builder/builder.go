// Package builder finds the image builders of this machine, and makes the command line by which
// one of them builds an unmodified Dockerfile for another architecture.
//
// A builder runs a foreign image's programs by a plug, which this package chooses:
//
//   - itself: the builder's host has a registered emulator, or a plug that was set up there. Found
//     out by building the smallest image (prove.go);
//   - runtime: an OCI runtime that wraps runc or crun (binproxy runtime), named on the command
//     line;
//   - run: the supervisor around the builder (binproxy run -- BUILDER), where the builder starts
//     the image's programs itself.
//
// What a daemon does on another side of a socket can only be set up there; docs/builders.md says
// how. Plan is a pure function of the request and of what was found.
package builder

import (
	"cmp"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"binproxy/emu/runtime"
)

// The builders, by the names that --builder takes.
const (
	Docker   = "docker"
	Podman   = "podman"
	Buildah  = "buildah"
	Buildctl = "buildctl"
)

// Names are all of them, in the order in which they are looked for.
var Names = [...]string{Docker, Buildctl, Podman, Buildah}

// A Plug is the way in which a builder gets to run foreign programs.
type Plug string

// The plugs.
const (
	Itself  Plug = "itself"
	Runtime Plug = "runtime"
	Run     Plug = "run"
)

// A Builder is one that was found.
type Builder struct {
	Name string
	Path string // of its program
	// Remote is where its daemon answers, "" where the builder runs the image's programs itself,
	// as buildah and a local podman do.
	Remote string
	// Refused is why its daemon does not answer, "" where it does.
	Refused string
	// OCI reports whether it starts containers by an OCI runtime that it takes on its command
	// line.
	OCI bool
	// Env is what it gets to build the smallest image with, besides our environment.
	Env []string
}

// answers is how long a daemon may take to say that it is there.
const answers = 20 * time.Second

// Find looks for the builders of these names in PATH, and asks their daemons whether they answer.
func Find(ctx context.Context, getenv func(string) string, names ...string) []Builder {
	var found []Builder
	for _, name := range names {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		b := Builder{Name: name, Path: path}
		b.ask(ctx, getenv)
		found = append(found, b)
	}
	return found
}

func (b *Builder) ask(ctx context.Context, getenv func(string) string) {
	switch b.Name {
	case Docker:
		b.Remote = cmp.Or(getenv("DOCKER_HOST"), "the daemon of docker's context")
		b.Refused = refused(ctx, b.Path, "version", "--format", "{{.Server.Version}}")
	case Buildctl:
		b.Remote = cmp.Or(getenv("BUILDKIT_HOST"), "unix:///run/buildkit/buildkitd.sock")
		b.Refused = refused(ctx, b.Path, "debug", "workers")
	case Podman:
		if b.Remote = getenv("CONTAINER_HOST"); b.Remote != "" {
			b.Refused = refused(ctx, b.Path, "version", "--format", "{{.Server.Version}}")
		}
		fallthrough
	case Buildah:
		b.OCI = b.Remote == "" && getenv("BUILDAH_ISOLATION") != "chroot" && runtime.Installed()
	}
}

// refused runs a command which a daemon must answer, and gives the last line of its complaint.
func refused(ctx context.Context, path string, args ...string) string {
	ctx, cancel := context.WithTimeout(ctx, answers)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, args...).CombinedOutput()
	switch {
	case ctx.Err() != nil:
		return fmt.Sprintf("no answer within %v", answers)
	case err != nil:
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		return cmp.Or(lines[len(lines)-1], err.Error())
	}
	return ""
}
