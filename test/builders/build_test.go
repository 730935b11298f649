package builders

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/test/lib/lab"
	"binproxy/test/lib/need"
	"binproxy/test/lib/registry"
)

// A buildCase is `binproxy build` with a builder, in a place of its own.
type buildCase struct {
	name, needs string // needs is the builder's program and package
	user, long  bool
	options     []string // of binproxy build
	plug        string
}

// TestBuild makes `binproxy build` build for arm64, by each plug that it chooses. Guests see the
// release and the builder's machine does not, a failing RUN line gives the builder's own status,
// and the image has nothing of binproxy.
func TestBuild(t *testing.T) {
	need.Root(t)
	r := registry.Start(t)
	base := r.Base(t)
	for _, c := range []buildCase{
		{name: "buildah", needs: "buildah", options: []string{"--builder", "buildah", "--isolation", "chroot"}, plug: "run"},
		{name: "buildah-runc", needs: "buildah", long: true, options: []string{"--builder", "buildah", "--isolation", "oci"}, plug: "runtime"},
		{name: "buildah-rootless", needs: "buildah", user: true, long: true, options: []string{"--builder", "buildah", "--isolation", "chroot"}, plug: "run"},
		{name: "podman", needs: "podman", long: true, options: []string{"--builder", "podman"}, plug: "runtime"},
		{name: "podman-rootless", needs: "podman", user: true, long: true, options: []string{"--builder", "podman", "--plug", "run", "--isolation", "chroot"}, plug: "run"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.long {
				need.Long(t)
			}
			need.Program(t, c.needs, c.needs)
			need.Program(t, "runc", "runc")
			place := lab.NewPlace(t, c.user)
			build := func(place *lab.Place, platform, line, tag string, more ...string) (string, error) {
				text := "FROM " + base + "\nRUN " + line + "\n"
				require.NoError(t, os.WriteFile(filepath.Join(place.Dir, "Dockerfile"), []byte(text), 0o644))
				args := slices.Concat([]string{installed(t, place), "build", "--platform", platform, "--release", "4.15.0-112-generic"}, c.options, more,
					[]string{"--network=host", "--format=docker", "--tls-verify=false", "-f", "Dockerfile", "--tag=" + r.Host + "/" + tag, "etc"})
				out, err := place.Command(t.Context(), args...).CombinedOutput()
				return string(out), err
			}
			out, err := build(place, "linux/arm64", "uname -mr && test -e /proc/self", "good")
			require.NoError(t, err, out)
			assert.Contains(t, out, "plug "+c.plug)
			assert.Contains(t, out, "4.15.0-112-generic aarch64")
			lab.Do(t, place.Command(t.Context(), c.needs, "push", "--tls-verify=false", r.Host+"/good"))
			assertClean(t, r.Image(t, r.Host+"/good", registry.Guest))

			out, err = build(place, "linux/arm64", "exit 7", "bad")
			assert.Contains(t, out, "exit status 7")
			// Debian's crun refuses a host that has control groups of both versions.
			said, native := build(lab.NewPlace(t, c.user), "linux/amd64", "exit 7", "native", "--isolation=chroot")
			assert.Equal(t, status(t, native), status(t, err), "the builder's own status: %s", said)
		})
	}
}

func status(t *testing.T, err error) int {
	t.Helper()
	var failed *exec.ExitError
	require.ErrorAs(t, err, &failed)
	return failed.ExitCode()
}

// assertClean looks for everything that binproxy could have left: files, history, configuration.
func assertClean(t *testing.T, image registry.Image) {
	t.Helper()
	for _, layer := range image.Layers {
		for name := range layer {
			assert.NotContains(t, name, "binproxy")
			assert.NotContains(t, name, "qemu")
		}
	}
	for _, h := range image.History {
		assert.NotContains(t, h.CreatedBy, "binproxy")
	}
	assert.NotContains(t, strings.Join(image.Config.Cmd, " ")+strings.Join(image.Config.Entrypoint, " "), "binproxy")
}

// For a Docker engine without a plug, the error has the reason and names the page; with a plug,
// the engine is used as it is. A build that fails leaves nothing behind.
func TestBuildByDocker(t *testing.T) {
	need.Root(t)
	need.Program(t, "dockerd", "docker.io")
	r := registry.Start(t)
	base := r.Base(t)
	for _, test := range []struct {
		name  string
		start func(t *testing.T, p *lab.Place) lab.Start
		want  string
	}{
		{"without a plug", nothing, "docs/builders.md"},
		{"with BuildKit's", buildKitEmulator, "runs them already"},
		{"by the frontend", nothing, "builds by the image " + r.Host},
	} {
		t.Run(test.name, func(t *testing.T) {
			var frontends []string
			if test.name == "by the frontend" {
				need.Long(t)
				frontends = []string{"--release", "4.15.0-112-generic", "--frontend", frontend(t, r)}
			}
			place := lab.NewPlace(t, false)
			engine := lab.StartEngineIn(t, place, test.start(t, place))
			context := filepath.Join(place.Dir, "context")
			require.NoError(t, os.Mkdir(context, 0o755))
			require.NoError(t, os.WriteFile(filepath.Join(context, "Dockerfile"), []byte("FROM "+base+"\nRUN uname -mr | tee /machine\n"), 0o644))
			before := lab.Do(t, engine.Command(t.Context(), "image", "ls", "--all", "--quiet"))
			cmd := engine.BuildWith(t.Context(), true, "build", "--tag", r.Host+"/docker", "--network=host", context)
			docker := filepath.Dir(cmd.Path)
			cmd.Path = installed(t, place)
			cmd.Args = slices.Concat([]string{"binproxy", "build", "--builder", "docker", "--platform", "linux/arm64"}, frontends, cmd.Args[slices.Index(cmd.Args, "--tag"):])
			cmd.Env = append(cmd.Env, "PATH="+docker+":"+os.Getenv("PATH"), "HOME="+place.Dir)
			out, err := cmd.CombinedOutput()
			assert.Contains(t, string(out), test.want)
			if test.name == "without a plug" {
				assert.Equal(t, 125, status(t, err))
				assert.Contains(t, string(out), "exec format error")
				assert.Equal(t, before, lab.Do(t, engine.Command(t.Context(), "image", "ls", "--all", "--quiet")))
				return
			}
			require.NoError(t, err, "%s", out)
			if frontends != nil {
				assert.Contains(t, string(out), "4.15.0-112-generic aarch64")
			}
			lab.Do(t, engine.Command(t.Context(), "push", r.Host+"/docker"))
			assertClean(t, r.Image(t, r.Host+"/docker", registry.Guest))
		})
	}
}
