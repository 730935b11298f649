package builders

import (
	"bytes"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/template"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/test/lib/archive"
	"binproxy/test/lib/built"
	"binproxy/test/lib/host"
	"binproxy/test/lib/lab"
	"binproxy/test/lib/need"
	"binproxy/test/lib/registry"
)

// A plug is a way in which binproxy gets to the RUN lines of an unmodified Dockerfile: through the
// builder, not through the image.
type plug struct {
	name string
	// start gives the settings with which the builder starts, in the place where it will run.
	start func(t *testing.T, p *lab.Place) lab.Start
	// syntax gives the image of the frontend for the Dockerfile; nil for the builder's own.
	syntax func(t *testing.T, r registry.Registry) string
	// rewrite changes the Dockerfile in a context; nil leaves it as it is.
	rewrite func(t *testing.T, context string)
	// often are the builders of every long run, chosen so that it has each builder with a plug.
	// The other cells take a minute or two each, and run on request (need.Everything).
	often []string
	// without are the builders without such a plug, and the reasons.
	without map[string]string
}

const notBuildKit = "it is not BuildKit"

var buildKitOnly = map[string]string{
	"buildah": notBuildKit, "buildah-runc": notBuildKit, "buildah-rootless": notBuildKit, "podman": notBuildKit,
	"podman-rootless": notBuildKit, "dockerd-classic": notBuildKit,
}

// plugs are the columns of the table.
var plugs = []plug{
	{name: "run", start: supervisor, often: []string{"buildkitd-rootless", "buildah", "podman-rootless"}},
	{name: "buildkit", start: buildKitEmulator, often: []string{"buildkitd", "dockerd"}, without: buildKitOnly},
	{name: "frontend", start: nothing, syntax: frontend, often: []string{"buildkitd", "buildkitd-rootless", "dockerd"}, without: buildKitOnly},
	{name: "runtime", start: wrapped, often: []string{"buildah-runc", "buildah-rootless", "podman", "dockerd-classic"}, without: map[string]string{"buildah": "with --isolation=chroot it calls no runtime"}},
}

// supervisor is `binproxy run -- BUILDER`.
func supervisor(t *testing.T, p *lab.Place) lab.Start {
	return lab.Start{Before: []string{installed(t, p), "run", "--"}}
}

// buildKitEmulator is a single file in the builder's PATH, under the name by which BuildKit looks
// for its own emulator.
func buildKitEmulator(t *testing.T, p *lab.Place) lab.Start {
	t.Helper()
	dir := filepath.Join(p.Dir, "plug")
	out, err := exec.CommandContext(t.Context(), built.Binproxy(t), "bundle", "--buildkit", dir, "--arch", registry.Guest).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return lab.Start{Path: dir}
}

// wrapped is `binproxy runtime` as the builder's runtime. The BuildKit in dockerd takes any
// program that is called runc in its PATH.
func wrapped(t *testing.T, p *lab.Place) lab.Start {
	bundle := filepath.Join(p.Dir, "bundle")
	need.Emulator(t, "aarch64")
	out, err := exec.Command(built.Binproxy(t), "bundle", "--arch", registry.Guest, "-o", bundle).CombinedOutput()
	require.NoError(t, err, "%s", out)
	first := filepath.Join(p.Dir, "first")
	require.NoError(t, os.Mkdir(first, 0o755))
	for _, name := range []string{"runc", "binproxy-runtime"} {
		require.NoError(t, os.Symlink("../bundle/binproxy", filepath.Join(first, name)))
	}
	return lab.Start{Path: first, Runtime: filepath.Join(first, "binproxy-runtime")}
}

// nothing is a builder as it is.
func nothing(*testing.T, *lab.Place) lab.Start { return lab.Start{} }

// frontend is the image of the BuildKit frontend, in the registry.
func frontend(t *testing.T, r registry.Registry) string {
	return r.PushLayout(t, "binproxy", lab.Frontend(t, "", registry.Guest))
}

// installed is the program in the place's directory, where its user can execute it.
func installed(t *testing.T, p *lab.Place) string {
	t.Helper()
	path := filepath.Join(p.Dir, "binproxy")
	text, err := os.ReadFile(built.Binproxy(t))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, text, 0o755))
	return path
}

// TestMatrix builds one Dockerfile for arm64 with each builder, by each plug, and compares the
// image with the same builder's where the kernel itself runs arm64's programs: nothing may differ,
// for any builder and plug.
func TestMatrix(t *testing.T) {
	need.Root(t)
	project := newProject(t)
	for _, b := range matrixBuilders {
		reference := reference{project: project, builder: b}
		for _, p := range plugs {
			t.Run(b.name+"/"+p.name, func(t *testing.T) {
				if why := p.without[b.name]; why != "" {
					t.Skip(why)
				}
				need.Long(t)
				if !slices.Contains(p.often, b.name) {
					need.Everything(t)
				}
				place := lab.NewPlace(t, b.user)
				image := project.build(t, b, place, p, p.name)
				same(t, b, reference.get(t), image)
			})
		}
	}
}

// A reference is a builder's result where the kernel runs arm64's programs, made once for all
// plugs.
type reference struct {
	project *project
	builder matrixBuilder
	tried   bool
	image   *registry.Image
}

func (r *reference) get(t *testing.T) registry.Image {
	t.Helper()
	if !r.tried {
		r.tried = true
		image := r.project.build(t, r.builder, lab.Reference(t, r.builder.user, registry.Guest), plug{start: nothing}, "reference")
		r.image = &image
	}
	require.NotNil(t, r.image, "the reference could not be built, see the first plug")
	return *r.image
}

// Two builds of the reference differ only in what noise names. TestMatrix would fail if they
// differed in more; this test then says that it is not the plug's fault.
func TestReferenceNoise(t *testing.T) {
	need.Long(t)
	need.Root(t)
	project := newProject(t)
	for i, b := range matrixBuilders {
		t.Run(b.name, func(t *testing.T) {
			if i > 0 {
				need.Everything(t)
			}
			var images []registry.Image
			for _, tag := range []string{"first", "second"} {
				images = append(images, project.build(t, b, lab.Reference(t, b.user, registry.Guest), plug{start: nothing}, tag))
			}
			same(t, b, images[0], images[1])
		})
	}
}

// noise are the files that differ between any two builds, and the reasons.
var noise = map[string]string{
	"/var/cache/ldconfig/aux-cache": "it has inode numbers and times of libraries",
	"/var/log/alternatives.log":     "it has the time",
	"/var/log/apt/history.log":      "it has the time",
	"/var/log/apt/term.log":         "it has the time",
	"/var/log/dpkg.log":             "it has the time",
}

// same compares all that a user of the image gets. It leaves out the times at which files changed,
// the name that buildah gave the container in which it built, and the identity of the image before
// the last instruction, which the classic builder records.
func same(t *testing.T, b matrixBuilder, want, got registry.Image) {
	t.Helper()
	assert.Equal(t, want.Platform, got.Platform)
	want.Config.Hostname, got.Config.Hostname = "", ""
	want.Config.Image, got.Config.Image = "", ""
	assert.Equal(t, want.Config, got.Config)
	assert.Equal(t, b.lasting(want.History), b.lasting(got.History))
	require.Len(t, got.Layers, len(want.Layers))
	layer := func(layer, below lab.Tree) lab.Tree {
		layer = layer.Lasting().Without(slices.Collect(maps.Keys(noise))...)
		if b.loose {
			// A copy with its original's time and size: without an overlay's help, Docker's
			// comparison takes it for unchanged.
			return layer.Without("/etc/group-").Over(below)
		}
		return layer
	}
	before, after := lab.Tree{}, lab.Tree{}
	for i := range want.Layers {
		before, after = layer(want.Layers[i], before), layer(got.Layers[i], after)
		assert.Empty(t, strings.Join(before.Diff(after), "\n"), "layer %d", i)
	}
}

// lasting is the history without times, and without the identities of the images between two
// instructions, which podman records.
func (b matrixBuilder) lasting(history []v1.History) []v1.History {
	between, options := regexp.MustCompile(`^FROM [0-9a-f]{12}$`), regexp.MustCompile(`^COPY (--\S+ )*`)
	var lines []v1.History
	for _, line := range history {
		line.Created, line.Comment = v1.Time{}, between.ReplaceAllString(line.Comment, "FROM ...")
		if b.terse {
			line.CreatedBy = options.ReplaceAllString(line.CreatedBy, "COPY ")
		}
		lines = append(lines, line)
	}
	return lines
}

// A project is a thing to build: a context, and the registry and the Debian archive that its
// builds use. It ends with the test.
type project struct {
	registry        registry.Registry
	context         string
	base, triggered string
}

func newProject(t *testing.T) *project {
	t.Helper()
	packages, err := filepath.Glob(lab.Packages(t, registry.Guest, "compiler", "tcc", "libc6-dev") + "/*.deb")
	require.NoError(t, err)
	debian := archive.New(t)
	for _, file := range packages {
		debian.AddFile(file)
	}
	debian.Index()
	r := registry.Start(t)
	sources := "deb [trusted=yes] " + debian.URL + " " + archive.Suite + " main\n"
	p := &project{
		registry: r, base: r.Base(t),
		triggered: r.Triggered(t, "onbuild", "RUN uname -m >/onbuild", "ENV TRIGGERED=yes"),
		context:   host.Home(t),
	}
	text, err := os.ReadFile("testdata/matrix/hello.c")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(p.context, "hello.c"), text, 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(p.context, "sources.list"), []byte(sources), 0o644))
	require.NoError(t, os.CopyFS(filepath.Join(p.context, "debian"), os.DirFS(debian.Dir())))
	return p
}

// build makes the builder build and push the project's image, and reads it.
func (p *project) build(t *testing.T, b matrixBuilder, place *lab.Place, with plug, tag string) registry.Image {
	t.Helper()
	start, syntax := with.start(t, place), ""
	if with.syntax != nil {
		syntax = with.syntax(t, p.registry)
	}
	dir := filepath.Join(place.Dir, "context")
	p.write(t, b, dir)
	if with.rewrite != nil {
		with.rewrite(t, dir)
	}
	ref := p.registry.Host + "/" + b.name + ":" + tag
	b.build(t, job{p, place, start, syntax, dir, ref})
	return p.registry.Image(t, ref, registry.Guest)
}

// write writes the context with the builder's Dockerfile to a new directory.
func (p *project) write(t *testing.T, b matrixBuilder, dir string) {
	t.Helper()
	require.NoError(t, os.CopyFS(dir, os.DirFS(p.context)))
	dockerfile, err := template.ParseFiles("testdata/matrix/Dockerfile")
	require.NoError(t, err)
	var text bytes.Buffer
	require.NoError(t, dockerfile.Execute(&text, map[string]any{
		"Base": p.base, "Triggered": p.triggered, "Platform": registry.Platform(t, registry.Guest).String(),
		"Mounts": !b.plain, "Heredocs": b.heredocs,
	}))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "Dockerfile"), text.Bytes(), 0o644))
}
