package release

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/test/lib/lab"
	"binproxy/test/lib/registry"
)

// builder is a buildkitd without registered emulators, and a registry with a base image.
type builder struct {
	t        *testing.T
	registry registry.Registry
	base     string
	daemon   *lab.Buildkitd
	context  string
}

// newBuilder starts one whose PATH begins with a directory, "" for none.
func newBuilder(t *testing.T, path string) builder {
	t.Helper()
	place := lab.NewPlace(t, false)
	r := registry.Start(t)
	b := builder{t, r, r.Base(t), lab.StartBuildkitd(t, place, lab.Start{Path: path}), filepath.Join(place.Dir, "context")}
	require.NoError(t, os.Mkdir(b.context, 0o755))
	return b
}

// build builds a Dockerfile for the guest; BASE stands for the base image.
func (b builder) build(dockerfile string, options ...string) string {
	b.t.Helper()
	require.NoError(b.t, os.WriteFile(filepath.Join(b.context, "Dockerfile"), []byte(strings.ReplaceAll(dockerfile, "BASE", b.base)), 0o644))
	args := append([]string{"build", "--progress=plain", "--no-cache", "--opt=platform=linux/" + registry.Guest, "--local=context=" + b.context, "--local=dockerfile=" + b.context}, options...)
	out, err := b.daemon.Client(b.t, args...).CombinedOutput()
	require.NoError(b.t, err, "%s", out)
	return string(out)
}

const plain = "--frontend=dockerfile.v0"

// A Dockerfile takes the bundle out of the guest's image, with a stage of the builder's platform.
func TestGuestImage(t *testing.T) {
	dir := filepath.Join(dist(t), "images", "guest-"+registry.Guest)
	b := newBuilder(t, "")
	ref := b.registry.PushNamed(t, "binproxy:"+registry.Guest, dir, "latest")
	said := b.build("FROM --platform=$BUILDPLATFORM "+ref+" AS binproxy\nFROM BASE\nCOPY --from=binproxy / /binproxy\n"+
		"RUN [\"/binproxy/binproxy\", \"install\"]\nRUN uname -m && test -s /binproxy/COPYRIGHT.qemu && cat /binproxy/SOURCE.qemu\n", plain)
	assert.Contains(t, said, " aarch64\n")
	assert.Regexp(t, `Debian's source package\n.*\n.*qemu \d+:7\.`, said)
}

// One host's image, by a name of its own, needs no stage: its platform is not asked for.
func TestGuestImageOfOneHost(t *testing.T) {
	dir := filepath.Join(dist(t), "images", "guest-"+registry.Guest)
	b := newBuilder(t, "")
	ref := b.registry.PushNamed(t, "binproxy:"+registry.Guest+"-on-"+host(), dir, host())
	said := b.build("FROM BASE\nCOPY --from="+ref+" / /binproxy\nRUN [\"/binproxy/sh\", \"-c\", \"uname -m\"]\n", plain)
	assert.Contains(t, said, " aarch64\n")
}

// The frontend's image builds with nothing set up at the daemon.
func TestFrontendImage(t *testing.T) {
	dir := filepath.Join(dist(t), "images", "frontend")
	b := newBuilder(t, "")
	said := b.build("FROM BASE\nRUN uname -m\n", "--frontend=gateway.v0", "--opt=source="+b.registry.PushLayout(t, "binproxy", dir))
	assert.Contains(t, said, " aarch64\n")
}

// The archive of BuildKit's plugs serves a daemon that has its directory in PATH.
func TestPlugs(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o755))
	do(t, dir, "tar", "--no-same-owner", "-xzf", file(t, "-buildkit.tar.gz"), "--strip-components=1")
	assert.FileExists(t, filepath.Join(dir, "COPYRIGHT.qemu"))
	assert.Contains(t, newBuilder(t, dir).build("FROM BASE\nRUN uname -m\n", plain), " aarch64\n")
}

// The node's image puts the plugs and the runtime on a node: a directory that stands for the
// node's root. A second start changes nothing, and a runtime's name that is taken stays as it is.
func TestNode(t *testing.T) {
	root := layerOf(t, filepath.Join(dist(t), "images", "node"))
	node := filepath.Join(root, "host")
	for _, name := range []string{"opt", "usr/local/bin"} {
		require.NoError(t, os.MkdirAll(filepath.Join(node, name), 0o755))
	}
	for range 2 {
		inRoot(t, root, "/node", "-arch", "aarch64")
	}
	to, err := os.Readlink(filepath.Join(node, "usr/local/bin/binproxy-runtime"))
	require.NoError(t, err)
	assert.Equal(t, "/opt/binproxy/binproxy", to)
	assert.FileExists(t, filepath.Join(node, to))
	link := filepath.Join(node, "usr/local/bin/binproxy-runtime")
	require.NoError(t, os.Remove(link))
	require.NoError(t, os.WriteFile(link, []byte("another's\n"), 0o755))
	_, err = tryInRoot(t, root, "/node", "-arch", "aarch64")
	require.Error(t, err)
	text, err := os.ReadFile(link)
	require.NoError(t, err)
	assert.Equal(t, "another's\n", string(text))
	assert.Contains(t, newBuilder(t, filepath.Join(node, "usr/local/bin")).build("FROM BASE\nRUN uname -m\n", plain), " aarch64\n")
}

// layerOf unpacks the only layer of this host's image.
func layerOf(t *testing.T, dir string) string {
	t.Helper()
	index, err := layout.ImageIndexFromPath(dir)
	require.NoError(t, err)
	image, err := index.Image(registry.Named(t, dir, host()).Digest)
	require.NoError(t, err)
	layers, err := image.Layers()
	require.NoError(t, err)
	require.Len(t, layers, 1)
	hash, err := layers[0].Digest()
	require.NoError(t, err)
	root := t.TempDir()
	do(t, root, "tar", "--no-same-owner", "-xzf", filepath.Join(dir, "blobs", hash.Algorithm, hash.Hex))
	config, err := image.ConfigFile()
	require.NoError(t, err)
	assert.Equal(t, []string{"/node", "-arch", "aarch64"}, config.Config.Entrypoint)
	assert.Equal(t, version, config.Config.Labels["org.opencontainers.image.version"])
	return root
}

// The bill of materials is whole: each element that a relationship names is there, once, and it
// has each module of the program, and the emulators.
func TestBill(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(dist(t), "binproxy-"+version+".spdx.json"))
	require.NoError(t, err)
	var bill struct {
		SPDXVersion string
		Packages    []struct{ SPDXID, Name, VersionInfo string }
		Relations   []struct{ SpdxElementID, RelatedSpdxElement string } `json:"relationships"`
	}
	require.NoError(t, json.Unmarshal(text, &bill))
	assert.Equal(t, "SPDX-2.3", bill.SPDXVersion)
	ids, names := map[string]int{"SPDXRef-DOCUMENT": 1}, map[string]string{}
	for _, p := range bill.Packages {
		ids[p.SPDXID]++
		names[p.Name] = p.VersionInfo
		assert.Regexp(t, `^SPDXRef-[A-Za-z0-9.-]+$`, p.SPDXID)
	}
	for _, r := range bill.Relations {
		assert.Equal(t, 1, ids[r.SpdxElementID], r.SpdxElementID)
		assert.Equal(t, 1, ids[r.RelatedSpdxElement], r.RelatedSpdxElement)
	}
	assert.Equal(t, version, names["binproxy"])
	for _, name := range []string{"std", "golang.org/x/sys", "github.com/moby/buildkit", "qemu-user-static"} {
		assert.NotEmpty(t, names[name], name)
	}
}
