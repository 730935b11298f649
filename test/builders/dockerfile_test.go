package builders

import (
	_ "embed"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
	"binproxy/test/lib/built"
	"binproxy/test/lib/lab"
	"binproxy/test/lib/modules"
	"binproxy/test/lib/need"
	"binproxy/test/lib/registry"
)

// kaniko is a builder without a daemon, which runs the image's programs in its own root.
var kaniko = matrixBuilder{name: "kaniko", plain: true, build: byKaniko}

// A Dockerfile that `binproxy dockerfile` has rewritten builds with builders into which nothing is
// plugged. The image has the configuration and the files of the same builder's where the kernel
// itself runs the programs.
func TestDockerfile(t *testing.T) {
	need.Root(t)
	project := newProject(t)
	// The triggers of a base image run before the Dockerfile can bring anything along. It has a
	// tag of its own: the classic builder pulls each for one platform.
	project.triggered = project.registry.Triggered(t, "plain")
	for _, b := range []matrixBuilder{matrixBuilders[slices.IndexFunc(matrixBuilders, func(b matrixBuilder) bool { return b.name == "dockerd-classic" })], kaniko} {
		t.Run(b.name, func(t *testing.T) {
			need.Long(t)
			if b.name == kaniko.name {
				need.Everything(t) // it compiles kaniko
			}
			rewrite := rewrittenWith()
			if b.name == kaniko.name {
				rewrite = rewrittenWith("--one-platform")
			}
			got := project.build(t, b, lab.NewPlace(t, false), plug{start: nothing, rewrite: rewrite}, "rewritten")
			want := project.build(t, b, lab.Reference(t, false, registry.Guest), plug{start: nothing}, "reference")
			assert.Equal(t, want.Platform, got.Platform)
			for _, image := range []*registry.Image{&want, &got} {
				image.Config.Hostname, image.Config.Image = "", ""
			}
			assert.Equal(t, want.Config, got.Config)
			text, err := json.Marshal(got.Config)
			require.NoError(t, err)
			assert.NotContains(t, string(text), "binproxy")
			assert.Contains(t, commands(got), "/binproxy/binproxy", "the history: it was rewritten")
			assert.Empty(t, strings.Join(b.files(want).Diff(b.files(got)), "\n"))
		})
	}
}

// commands is the history in one text.
func commands(image registry.Image) string {
	var all []string
	for _, line := range image.History {
		all = append(all, line.CreatedBy)
	}
	return strings.Join(all, "\n")
}

// files are what a container of the image has, without what differs between any two builds.
func (b matrixBuilder) files(image registry.Image) lab.Tree {
	all := lab.Tree{}
	for _, layer := range image.Layers {
		all = layer.Lasting().Over(all)
	}
	all = all.Without(slices.Collect(maps.Keys(noise))...)
	if b.loose {
		return all.Without("/etc/group-") // see same
	}
	return all
}

// rewrittenWith rewrites the Dockerfile in the context, and makes the bundle there, as a user does
// it.
func rewrittenWith(flags ...string) func(t *testing.T, context string) {
	return func(t *testing.T, context string) {
		t.Helper()
		rewrite(t, context, flags)
	}
}

func rewrite(t *testing.T, context string, flags []string) {
	t.Helper()
	dir := dockerfileProgram(t)
	file := filepath.Join(context, "Dockerfile")
	platform := "linux/" + registry.Guest
	lab.Do(t, exec.Command(built.Binproxy(t), "bundle", "--platform", platform, "-o", filepath.Join(context, "bundle")))
	rewrite := exec.Command(built.Binproxy(t), slices.Concat([]string{"dockerfile", "--platform", platform}, flags, []string{file})...)
	rewrite.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
	require.NoError(t, os.WriteFile(file, []byte(lab.Do(t, rewrite)), 0o644))
}

// dockerfileProgram is a directory with binproxy-dockerfile.
func dockerfileProgram(t *testing.T) string {
	t.Helper()
	root, err := built.Root()
	require.NoError(t, err)
	download := exec.Command("go", "mod", "download")
	download.Dir = filepath.Join(root, "frontend")
	need.Installed(t, download.Run() == nil, "the Go modules of frontend/")
	dir := t.TempDir()
	build := exec.Command("go", "build", "-o", dir, "./cmd/binproxy-dockerfile")
	build.Dir, build.Env = download.Dir, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	lab.Do(t, build)
	return dir
}

//go:embed testdata/kaniko.sh
var inKaniko string

// byKaniko builds in a root that has only kaniko and the context, in the one directory that kaniko
// keeps out of its layers.
func byKaniko(t *testing.T, j job) {
	root := filepath.Join(j.place.Dir, "root")
	require.NoError(t, os.MkdirAll(filepath.Join(root, "kaniko"), 0o755))
	executor, err := os.ReadFile(modules.Kaniko.Program(t, "executor"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(root, "kaniko", "executor"), executor, 0o755))
	require.NoError(t, os.CopyFS(filepath.Join(root, "kaniko", "context"), os.DirFS(j.context)))
	before := slices.Clone(j.start.Before)
	if len(before) > 0 {
		const file = "/kaniko/binproxy"
		lab.Do(t, exec.Command("cp", before[0], root+file))
		before[0] = file
	}
	native := registry.Platform(t, arch.Host().Debian).String()
	lab.Do(t, j.place.Command(t.Context(), slices.Concat([]string{"sh", "-c", inKaniko, "sh", root}, before, []string{"/kaniko/executor", "--force",
		"--context=dir:///kaniko/context", "--destination=" + j.ref, "--build-arg=BUILDPLATFORM=" + native,
		"--custom-platform=" + registry.Platform(t, registry.Guest).String()})...))
}

// Under the supervisor, kaniko builds the Dockerfile as it is. The image is the one that it builds
// where the kernel itself runs the programs.
func TestKaniko(t *testing.T) {
	need.Root(t)
	need.Everything(t) // it compiles kaniko
	project := newProject(t)
	got := project.build(t, kaniko, lab.NewPlace(t, false), plug{start: singleFile}, "supervised")
	want := project.build(t, kaniko, lab.Reference(t, false, registry.Guest), plug{start: nothing}, "reference")
	same(t, kaniko, want, got)
}

// singleFile is one file that is binproxy and the emulator, around the builder.
func singleFile(t *testing.T, p *lab.Place) lab.Start {
	t.Helper()
	file := filepath.Join(p.Dir, "binproxy")
	lab.Do(t, exec.Command(built.Binproxy(t), "bundle", "--single", file, "--arch", registry.Guest))
	return lab.Start{Before: []string{file, "run", "--"}}
}
