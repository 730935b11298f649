package registry

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"binproxy/emu/arch"
	"binproxy/test/lib/fixture"
	"binproxy/test/lib/lab"
)

// Layout is an OCI layout with the base images, made once: a Debian root (lab.Root) for the host
// and one for Guest, each as one layer.
func Layout(t testing.TB) string {
	t.Helper()
	roots := map[string]string{}
	for _, port := range ports() {
		roots[port] = lab.Root(t, port)
	}
	from := []string{"docker schema 2, one layer, gzip"}
	for _, port := range ports() {
		from = append(from, filepath.Base(roots[port]))
	}
	f := fixture.Fixture{Name: "images/debian-" + lab.Suite, What: "base images for two platforms", From: from,
		Make: func(_ context.Context, _, made string, _ *os.File) error {
			return writeLayout(made, roots, "mmdebstrap", "bash")
		}}
	return f.For(t)
}

func ports() []string { return slices.Compact([]string{arch.Host().Debian, Guest}) }

// writeLayout writes the images of the roots, tar archives by Debian's names of architectures.
func writeLayout(dir string, roots map[string]string, by, cmd string) error {
	index := mutate.IndexMediaType(empty.Index, types.DockerManifestList)
	for _, port := range ports() {
		image, platform, err := ofRoot(roots[port], port, by, cmd)
		if err != nil {
			return err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: platform}})
	}
	_, err := layout.Write(dir, index)
	return err
}

// ofRoot is an image of one layer, the tar archive root, which the program by has made.
func ofRoot(root, port, by, cmd string) (v1.Image, *v1.Platform, error) {
	abi, err := arch.Parse(port)
	if err != nil {
		return nil, nil, err
	}
	platform, err := v1.ParsePlatform(abi.Platform())
	if err != nil {
		return nil, nil, err
	}
	layer, err := tarball.LayerFromFile(root, tarball.WithMediaType(types.DockerLayer))
	if err != nil {
		return nil, nil, err
	}
	image, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{
		OS: platform.OS, Architecture: platform.Architecture, Variant: platform.Variant, Created: v1.Time{Time: time.Unix(0, 0).UTC()},
		Config: v1.Config{Env: []string{lab.ImagePath}, Cmd: []string{cmd}},
		RootFS: v1.RootFS{Type: "layers"},
	})
	if err != nil {
		return nil, nil, err
	}
	image, err = mutate.Append(image, mutate.Addendum{Layer: layer, History: v1.History{Created: v1.Time{Time: time.Unix(0, 0).UTC()}, CreatedBy: by}})
	return image, platform, err
}
