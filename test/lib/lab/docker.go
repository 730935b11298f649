package lab

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
	"binproxy/test/lib/need"
)

// Classic is Docker's first builder.
func Classic(t testing.TB) Builder { return docker{SharedEngine(t), "classic"} }

// BuildKit is Docker's second builder.
func BuildKit(t testing.TB) Builder {
	e := SharedEngine(t)
	need.Installed(t, e.buildkit != "", "a docker client that can use BuildKit (package docker.io, or the buildx plugin)")
	return docker{e, "buildkit"}
}

type docker struct {
	*Engine
	kind string
}

func (d docker) Name() string { return d.kind }

// baseName is the name of a base image, which is never that of a user's own image.
func baseName(port string) string { return fmt.Sprintf("binproxy-lab-%d/debian:%s", os.Getpid(), port) }

// bases are the base images of one engine or storage.
type bases struct {
	sync.Mutex
	loaded map[string]bool
}

// load calls load once for each architecture, and gives the image's reference.
func (b *bases) load(t testing.TB, port string, load func(root, ref string) error) string {
	t.Helper()
	root, ref := Root(t, port), baseName(port)
	b.Lock()
	defer b.Unlock()
	if !b.loaded[port] {
		require.NoError(t, load(root, ref))
		if b.loaded == nil {
			b.loaded = map[string]bool{}
		}
		b.loaded[port] = true
	}
	return ref
}

func (d docker) Base(t testing.TB, port string) string {
	t.Helper()
	return d.bases.load(t, port, func(root, ref string) error {
		if !d.Private {
			atEnd(func() { _ = d.Command(background(), "rmi", ref).Run() })
		}
		return d.Load(t.Context(), root, port, ref)
	})
}

// Load makes an image of a root (see MakeRoot) and calls it ref.
func (e *Engine) Load(ctx context.Context, root, port, ref string) error {
	abi, err := arch.Parse(port)
	if err != nil {
		return err
	}
	r, w := io.Pipe()
	defer r.Close()
	go func() { w.CloseWithError(WriteImage(w, root, abi, ref)) }()
	cmd := e.Command(ctx, "load", "--quiet")
	cmd.Stdin = r
	return run(cmd)
}

// BuildWith is a docker build with BuildKit, or with the classic builder, with plain output.
func (e *Engine) BuildWith(ctx context.Context, buildkit bool, args ...string) *exec.Cmd {
	if buildkit {
		return e.builder(ctx, e.buildkit, 1, append([]string{args[0], "--progress=plain"}, args[1:]...))
	}
	return e.builder(ctx, e.client, 0, args)
}

func (d docker) Build(t testing.TB, b Build) Result {
	t.Helper()
	args := append([]string{"build", "--no-cache", "--force-rm", "--file", b.file(t), "--network", cmp.Or(b.Network, "none")}, b.flags()...)
	var r Result
	if d.kind == "buildkit" {
		r = finish(t, d.builder(t.Context(), d.buildkit, 1, append(args, "--progress=plain", b.Context)), buildKitSteps)
	} else {
		r = finish(t, d.builder(t.Context(), d.client, 0, append(args, b.Context)), classicSteps)
	}
	if r.Image != "" {
		t.Cleanup(func() { _ = d.Command(background(), "rmi", "--force", r.Image).Run() })
	}
	return r
}

func (e *Engine) builder(ctx context.Context, client string, buildkit int, args []string) *exec.Cmd {
	cmd := e.with(ctx, client, args...)
	cmd.Env = append(cmd.Env, fmt.Sprintf("DOCKER_BUILDKIT=%d", buildkit))
	return cmd
}

func classicSteps(log string) []Step {
	return steps(log, regexp.MustCompile(`^Step \d+/\d+ : (.*)`),
		regexp.MustCompile(`^( ---> |Removing intermediate container |Successfully (built|tagged) |The command '.* returned a non-zero code: )`))
}

// runTime is how long a container of a test may run.
const runTime = 2 * time.Minute

func (d docker) Run(t testing.TB, image string, command ...string) (string, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), runTime)
	defer cancel()
	return ran(t, d.Command(ctx, append([]string{"run", "--rm", "--network", "none", image}, command...)...))
}

// Tree lists a container that was made from the image and never started: each time, the engine's
// own files in it have other times.
func (d docker) Tree(t testing.TB, image string) Tree {
	t.Helper()
	id, err := output(d.Command(t.Context(), "create", image, "none"))
	require.NoError(t, err)
	id = strings.TrimSpace(id)
	defer func() { _ = d.Command(background(), "rm", id).Run() }()
	return treeOf(t, d.Command(t.Context(), "export", id))
}
