package builders

import (
	"cmp"
	"path/filepath"
	"slices"
	"testing"

	"binproxy/emu/arch"
	"binproxy/test/lib/lab"
	"binproxy/test/lib/need"
	"binproxy/test/lib/registry"
)

// A matrixBuilder is a row of the table.
type matrixBuilder struct {
	name     string
	user     bool // an ordinary user runs it
	plain    bool // it knows no RUN --mount
	heredocs bool // it knows RUN <<EOF
	// Its layers also name unchanged files, and other ones in a user namespace, where overlays
	// tell less. So the results of the layers are compared, not the names in them.
	loose bool
	// Its own Dockerfile frontend is old, and leaves the options of COPY out of the history.
	terse bool
	build func(t *testing.T, j job)
}

// A job is one build: the place, the way the builder is started, the image of the frontend ("" for
// the builder's own), the context, and the name under which the image is pushed.
type job struct {
	*project
	place   *lab.Place
	start   lab.Start
	syntax  string
	context string
	ref     string
}

// matrixBuilders are the rows of the table.
var matrixBuilders = []matrixBuilder{
	{name: "buildkitd", heredocs: true, build: buildkitd},
	{name: "buildkitd-rootless", user: true, heredocs: true, build: buildkitd},
	{name: "buildah", build: buildahBud("--isolation=chroot")},
	{name: "buildah-runc", build: buildahBud("--isolation=oci")},
	{name: "buildah-rootless", user: true, build: buildahBud("--isolation=rootless")},
	{name: "podman", build: podmanBuild},
	{name: "podman-rootless", user: true, build: podmanBuild},
	{name: "dockerd", loose: true, terse: true, build: dockerd},
	{name: "dockerd-classic", plain: true, loose: true, build: classic},
}

func (j job) secret() string { return "id=sources,src=" + filepath.Join(j.context, "sources.list") }

// buildkitd is a current BuildKit: its daemon and its client. An ordinary user's is in
// RootlessKit's namespaces.
func buildkitd(t *testing.T, j job) {
	daemon := lab.StartBuildkitd(t, j.place, j.start)
	how := []string{"--frontend=dockerfile.v0"}
	if j.syntax != "" {
		how = []string{"--frontend=gateway.v0", "--opt=source=" + j.syntax}
	}
	lab.Do(t, daemon.Client(t, slices.Concat([]string{"build", "--progress=plain"}, how, []string{
		"--local=context=" + j.context, "--local=dockerfile=" + j.context, "--secret=" + j.secret(),
		"--output=type=image,push=true,oci-mediatypes=false,name=" + j.ref})...))
}

// buildahBud is `buildah bud`: a builder without a daemon.
func buildahBud(isolation string) func(t *testing.T, j job) {
	return func(t *testing.T, j job) {
		need.Program(t, "buildah", "buildah")
		j.buildAndPush(t, "buildah", "bud", isolation, j.runtime(t))
	}
}

func podmanBuild(t *testing.T, j job) {
	need.Program(t, "podman", "podman")
	j.buildAndPush(t, "podman", j.runtime(t), "build")
}

// buildAndPush has what buildah and podman share: their flags. The runtime is runc unless the
// start names one, since Debian's crun refuses a host that has control groups of both versions.
func (j job) buildAndPush(t *testing.T, build ...string) {
	t.Helper()
	lab.Do(t, j.start.Command(t.Context(), j.place, slices.Concat(build, []string{"--network=host", "--format=docker", "--tls-verify=false",
		"--secret=" + j.secret(), "--tag=" + j.ref, j.context})...))
	lab.Do(t, j.place.Command(t.Context(), build[0], "push", "--tls-verify=false", j.ref))
}

func (j job) runtime(t *testing.T) string {
	return "--runtime=" + cmp.Or(j.start.Runtime, need.Program(t, "runc", "runc"))
}

// dockerd is a Docker engine with its BuildKit.
func dockerd(t *testing.T, j job) {
	engine := lab.StartEngineIn(t, j.place, j.start)
	args := []string{"build", "--network=host", "--tag=" + j.ref, "--secret=" + j.secret(), j.context}
	if j.syntax != "" {
		args = append(args, "--build-arg=BUILDKIT_SYNTAX="+j.syntax)
	}
	lab.Do(t, engine.BuildWith(t.Context(), true, args...))
	lab.Do(t, engine.Command(t.Context(), "push", j.ref))
}

// classic is a Docker engine with its classic builder. In a user namespace the engine loses the
// machine's network, one thread after the other, once it has started a container. So it pulls
// before that, and its image comes out as an archive.
func classic(t *testing.T, j job) {
	engine := lab.StartEngineIn(t, j.place, j.start)
	native := registry.Platform(t, arch.Host().Debian).String()
	lab.Do(t, engine.Command(t.Context(), "pull", "--quiet", "--platform="+native, j.base))
	lab.Do(t, engine.Command(t.Context(), "pull", "--quiet", "--platform="+registry.Platform(t, registry.Guest).String(), j.triggered))
	lab.Do(t, engine.BuildWith(t.Context(), false, "build", "--network=none", "--tag="+j.ref, "--build-arg=BUILDPLATFORM="+native, j.context))
	archive := filepath.Join(j.place.Dir, "image.tar")
	lab.Do(t, engine.Command(t.Context(), "save", "--output="+archive, j.ref))
	j.registry.Push(t, j.ref, archive)
}
