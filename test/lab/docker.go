package lab

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
	"binproxy/test/need"
)

// Classic is Docker's first builder.
func Classic(t testing.TB) Builder { return docker{SharedEngine(t), "classic"} }

// BuildKit is its second.
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

// baseName is what the base images are called: never what a user's own image is.
func baseName(port string) string { return fmt.Sprintf("binproxy-lab-%d/debian:%s", os.Getpid(), port) }

// bases are the base images of one engine or storage.
type bases struct {
	sync.Mutex
	loaded map[string]bool
}

// load calls load once for each architecture, with an image archive to read.
func (b *bases) load(t testing.TB, port string, load func(image io.Reader) error) string {
	t.Helper()
	root, ref := Root(t, port), baseName(port)
	b.Lock()
	defer b.Unlock()
	if b.loaded[port] {
		return ref
	}
	abi, err := arch.Parse(port)
	require.NoError(t, err)
	r, w := io.Pipe()
	go func() { w.CloseWithError(WriteImage(w, root, abi, ref)) }()
	require.NoError(t, load(r))
	if b.loaded == nil {
		b.loaded = map[string]bool{}
	}
	b.loaded[port] = true
	return ref
}

func (d docker) Base(t testing.TB, port string) string {
	t.Helper()
	return d.bases.load(t, port, func(image io.Reader) error {
		cmd := d.Command(t.Context(), "load", "--quiet")
		cmd.Stdin = image
		err := run(cmd)
		if err == nil && !d.Private {
			atEnd(func() { _ = d.Command(background(), "rmi", baseName(port)).Run() })
		}
		return err
	})
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

func (d docker) builder(ctx context.Context, client string, buildkit int, args []string) *exec.Cmd {
	cmd := d.with(ctx, client, args...)
	cmd.Env = append(cmd.Env, fmt.Sprintf("DOCKER_BUILDKIT=%d", buildkit))
	return cmd
}

func classicSteps(log string) []Step {
	return steps(log, regexp.MustCompile(`^Step \d+/\d+ : (.*)`),
		regexp.MustCompile(`^( ---> |Removing intermediate container |Successfully (built|tagged) |The command '.* returned a non-zero code: )`))
}

func (d docker) Run(t testing.TB, image string, command ...string) (string, int) {
	t.Helper()
	return combined(t, d.Command(t.Context(), append([]string{"run", "--rm", "--network", "none", image}, command...)...))
}

// Tree reads the image's layers. A container made of the image would have files and times of its own.
func (d docker) Tree(t testing.TB, image string) Tree {
	t.Helper()
	archive := filepath.Join(t.TempDir(), "image.tar")
	require.NoError(t, run(d.Command(t.Context(), "save", "--output", archive, image)))
	tree, err := ReadImage(archive)
	require.NoError(t, err)
	return tree
}
