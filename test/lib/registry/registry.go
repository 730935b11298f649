// Package registry gives tests a container registry on the loopback, in the test's own process,
// with base images of two platforms: this host's and arm64's. Builders pull from it, and push what
// they have built to it, where the tests read it.
package registry

import (
	"io"
	"log"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/require"

	"github.com/google/go-containerregistry/pkg/registry"

	"binproxy/emu/arch"
)

// A Registry serves plain HTTP to everybody on this machine.
type Registry struct {
	Host string // 127.0.0.1:PORT, the first part of a reference
}

// Start starts a registry that ends with the test. Its contents are in a temporary directory.
func Start(t testing.TB) Registry {
	t.Helper()
	blobs := registry.NewDiskBlobHandler(t.TempDir())
	server := httptest.NewServer(registry.New(registry.WithBlobHandler(blobs), registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return Registry{strings.TrimPrefix(server.URL, "http://")}
}

// Guest is Debian's name of the foreign platform of the base images.
const Guest = "arm64"

// Base pushes a Debian image for two platforms, the host's and Guest's, and gives its reference.
func (r Registry) Base(t testing.TB) string {
	t.Helper()
	return r.Triggered(t, "base")
}

// Triggered is Base with ONBUILD triggers: a Dockerfile that is FROM it runs these instructions.
func (r Registry) Triggered(t testing.TB, tag string, triggers ...string) string {
	t.Helper()
	index, err := layout.ImageIndexFromPath(Layout(t))
	require.NoError(t, err)
	// A layout gives everything in it OCI's types.
	index = mutate.IndexMediaType(index, types.DockerManifestList)
	if len(triggers) > 0 {
		index = trigger(t, index, triggers)
	}
	ref := r.Host + "/debian:" + tag
	require.NoError(t, remote.WriteIndex(r.parse(t, ref), index))
	return ref
}

// trigger adds the triggers to each image of the index.
func trigger(t testing.TB, index v1.ImageIndex, triggers []string) v1.ImageIndex {
	t.Helper()
	manifest, err := index.IndexManifest()
	require.NoError(t, err)
	changed := index
	for _, described := range manifest.Manifests {
		image, err := index.Image(described.Digest)
		require.NoError(t, err)
		file, err := image.ConfigFile()
		require.NoError(t, err)
		file = file.DeepCopy()
		file.Config.OnBuild = triggers
		image, err = mutate.ConfigFile(image, file)
		require.NoError(t, err)
		changed = mutate.AppendManifests(mutate.RemoveManifests(changed, digest(described.Digest)),
			mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: described.Platform}})
	}
	return changed
}

func digest(d v1.Hash) func(v1.Descriptor) bool {
	return func(described v1.Descriptor) bool { return described.Digest == d }
}

// Platform is OCI's name of an architecture (Debian's name).
func Platform(t testing.TB, port string) *v1.Platform {
	t.Helper()
	abi, err := arch.Parse(port)
	require.NoError(t, err)
	platform, err := v1.ParsePlatform(abi.Platform())
	require.NoError(t, err)
	return platform
}

// Push pushes the image of an archive of docker save.
func (r Registry) Push(t testing.TB, ref, archive string) {
	t.Helper()
	image, err := tarball.ImageFromPath(archive, nil)
	require.NoError(t, err)
	require.NoError(t, remote.Write(r.parse(t, ref), image))
}

func (r Registry) parse(t testing.TB, ref string) name.Reference {
	t.Helper()
	parsed, err := name.ParseReference(ref, name.Insecure)
	require.NoError(t, err, filepath.Base(ref))
	return parsed
}

// PushLayout pushes the only index of an OCI layout, and gives its reference.
func (r Registry) PushLayout(t testing.TB, name, dir string) string {
	t.Helper()
	ref := r.Host + "/" + name
	require.NoError(t, remote.WriteIndex(r.parse(t, ref), Latest(t, dir)))
	return ref
}

// Latest is the only index of an OCI layout.
func Latest(t testing.TB, dir string) v1.ImageIndex {
	t.Helper()
	index, err := layout.ImageIndexFromPath(dir)
	require.NoError(t, err)
	manifest, err := index.IndexManifest()
	require.NoError(t, err)
	require.Len(t, manifest.Manifests, 1)
	latest, err := index.ImageIndex(manifest.Manifests[0].Digest)
	require.NoError(t, err)
	return latest
}

// Named is what an OCI layout calls name.
func Named(t testing.TB, dir, name string) v1.Descriptor {
	t.Helper()
	index, err := layout.ImageIndexFromPath(dir)
	require.NoError(t, err)
	manifest, err := index.IndexManifest()
	require.NoError(t, err)
	for _, described := range manifest.Manifests {
		if described.Annotations["org.opencontainers.image.ref.name"] == name {
			return described
		}
	}
	t.Fatalf("%s has no %s", dir, name)
	return v1.Descriptor{}
}

// PushNamed pushes the image or index that an OCI layout calls name, and gives its reference.
func (r Registry) PushNamed(t testing.TB, to, dir, name string) string {
	t.Helper()
	ref, described := r.Host+"/"+to, Named(t, dir, name)
	index, err := layout.ImageIndexFromPath(dir)
	require.NoError(t, err)
	if described.MediaType.IsIndex() {
		inner, err := index.ImageIndex(described.Digest)
		require.NoError(t, err)
		require.NoError(t, remote.WriteIndex(r.parse(t, ref), inner))
		return ref
	}
	image, err := index.Image(described.Digest)
	require.NoError(t, err)
	require.NoError(t, remote.Write(r.parse(t, ref), image))
	return ref
}
