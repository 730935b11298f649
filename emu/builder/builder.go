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
//     the image's programs itself;
//   - frontend: an image that a daemon's BuildKit fetches and builds by, which the user has named.
//
// Only a set-up on its own side changes what else a daemon behind a socket does; docs/builders.md
// says how. Plan is a pure function of the request and of what was found.
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

// Names lists all of them, in the order of the search.
var Names = [...]string{Docker, Buildctl, Podman, Buildah}

// A Plug is the way in which a builder can run foreign programs.
type Plug string

// The plugs.
const (
	Itself  Plug = "itself"
	Runtime Plug = "runtime"
	Run     Plug = "run"
	// Frontend is an image that the daemon fetches.
	Frontend Plug = "frontend"
)

// A Builder is a builder that was found.
type Builder struct {
	Name string
	Path string // of its program
	// Remote is the address of its daemon, "" if the builder itself runs the image's programs, as
	// buildah and a local podman do.
	Remote string
	// Refused is the reason if its daemon does not answer, else "".
	Refused string
	// OCI reports whether its command line takes the OCI runtime that starts the containers.
	OCI bool
	// Env is added to our environment when it builds the smallest image.
	Env []string
}

// buildKit reports whether its daemon has BuildKit.
func (b Builder) buildKit() bool { return b.Name == Docker || b.Name == Buildctl }

// answers is how long a daemon may take to answer.
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

// refused runs a command that a daemon must answer, and gives the last line of its complaint.
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
