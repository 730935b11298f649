package lab

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
	"binproxy/test/lib/need"
)

// Buildah is `buildah bud --isolation chroot`, with a storage of its own; format is docker or oci.
func Buildah(t testing.TB, format string) Builder {
	t.Helper()
	need.Program(t, "buildah", "buildah")
	need.Root(t)
	s, err := storageOnce()
	require.NoError(t, err)
	return buildah{s, format}
}

type buildah struct {
	*storage
	format string
}

// storage is the place where one buildah keeps its images.
type storage struct {
	dir, driver string
	bases       bases
}

var storageOnce = sync.OnceValues(func() (*storage, error) {
	dir, err := os.MkdirTemp("", "buildah-")
	if err != nil {
		return nil, err
	}
	s := &storage{dir: dir, driver: "overlay"}
	atEnd(s.close)
	if run(s.command(background(), "from", "scratch")) != nil {
		s.driver = "vfs" // slow, but it works on any file system
	}
	return s, nil
})

func (s *storage) close() {
	_ = s.command(background(), "rm", "--all").Run()
	_ = run(exec.Command("sh", "-c", `awk -v dir="$0/" 'index($2, dir) == 1 { print $2 }' /proc/self/mounts | sort -r | xargs -r umount -l`, s.dir))
	os.RemoveAll(s.dir)
}

func (s *storage) command(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "buildah", append([]string{
		"--root", s.dir + "/root", "--runroot", s.dir + "/run", "--storage-driver", s.driver}, args...)...)
}

func (b buildah) Name() string { return "buildah-" + b.format }

func (b buildah) Base(t testing.TB, port string) string {
	t.Helper()
	ref := b.bases.load(t, port, func(root, ref string) error {
		abi, err := arch.Parse(port)
		if err != nil {
			return err
		}
		archive := filepath.Join(b.dir, port+".tar")
		defer os.Remove(archive)
		f, err := os.Create(archive)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := WriteImage(f, root, abi, ref); err != nil {
			return err
		}
		return run(b.command(t.Context(), "pull", "--quiet", "docker-archive:"+archive))
	})
	return "localhost/" + ref
}

func (b buildah) Build(t testing.TB, build Build) Result {
	t.Helper()
	args := append([]string{"bud", "--isolation", "chroot", "--format", b.format, "--no-cache", "--file", build.file(t)}, build.flags()...)
	cmd := b.command(t.Context(), args...)
	cmd.Args = append(cmd.Args, build.Context)
	r := finish(t, cmd, buildahSteps)
	if r.Image != "" {
		t.Cleanup(func() { _ = b.command(background(), "rmi", "--force", r.Image).Run() })
	}
	return r
}

func buildahSteps(log string) []Step {
	return steps(log, regexp.MustCompile(`^(?:\[\d+/\d+\] )?STEP \d+/\d+: (.*)`),
		regexp.MustCompile(`^((?:\[\d+/\d+\] )?COMMIT|--> |Getting image source|Copying |Writing manifest|Storing signatures|Error: |[0-9a-f]{64}$|subprocess exited|error building)`))
}

func (b buildah) container(t testing.TB, image string) string {
	t.Helper()
	id, err := output(b.command(t.Context(), "from", "--pull-never", image))
	require.NoError(t, err)
	id = strings.TrimSpace(id)
	t.Cleanup(func() { _ = b.command(background(), "rm", id).Run() })
	return id
}

// Run takes output that comes twice: on a busy machine buildah 1.28 loses the output of one in
// sixty commands that end in chroot isolation, native ones too.
func (b buildah) Run(t testing.TB, image string, command ...string) (string, int) {
	t.Helper()
	if len(command) == 0 {
		command = b.cmd(t, image)
	}
	type answer struct {
		said   string
		status int
	}
	a := Steady(func() answer {
		args := append([]string{"run", "--isolation", "chroot", b.container(t, image), "--"}, command...)
		said, status := ran(t, b.command(t.Context(), args...))
		return answer{said, status}
	}, func(a, b answer) bool { return a == b })
	return a.said, a.status
}

// Steady asks until two answers in a row are the same, four times at most, and gives the last one.
func Steady[T any](ask func() T, same func(a, b T) bool) T {
	last := ask()
	for range 3 {
		next := ask()
		if same(last, next) {
			return next
		}
		last = next
	}
	return last
}

// cmd is the image's CMD, which `buildah run` itself does not run.
func (b buildah) cmd(t testing.TB, image string) []string {
	t.Helper()
	text, err := output(b.command(t.Context(), "inspect", "--type", "image", image))
	require.NoError(t, err)
	var inspected struct {
		OCIv1 struct {
			Config struct{ Cmd []string } `json:"config"`
		}
	}
	require.NoError(t, json.Unmarshal([]byte(text), &inspected))
	return inspected.OCIv1.Config.Cmd
}

func (b buildah) Tree(t testing.TB, image string) Tree {
	t.Helper()
	container := b.container(t, image)
	dir, err := output(b.command(t.Context(), "mount", container))
	require.NoError(t, err)
	defer func() { _ = b.command(background(), "umount", container).Run() }()
	return treeOf(t, exec.CommandContext(t.Context(), "tar", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--format=pax", "--sort=name", "-C", strings.TrimSpace(dir), "-c", "."))
}
