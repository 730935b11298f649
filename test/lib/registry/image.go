package registry

import (
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/require"

	"binproxy/test/lib/lab"
)

// An Image is a pushed image: all that its user gets.
type Image struct {
	Platform v1.Platform
	Config   v1.Config // env, entrypoint, cmd, user, labels ...
	History  []v1.History
	Layers   []lab.Tree // the contents of each layer, with whiteouts, from the base's up
}

// Image reads the image of the reference for the architecture (Debian's name).
func (r Registry) Image(t testing.TB, ref, port string) Image {
	t.Helper()
	image, err := remote.Image(r.parse(t, ref), remote.WithPlatform(*Platform(t, port)))
	require.NoError(t, err)
	file, err := image.ConfigFile()
	require.NoError(t, err)
	read := Image{Platform: *file.Platform(), Config: file.Config, History: file.History}
	layers, err := image.Layers()
	require.NoError(t, err)
	for _, layer := range layers {
		read.Layers = append(read.Layers, treeOf(t, layer))
	}
	return read
}

func treeOf(t testing.TB, layer v1.Layer) lab.Tree {
	t.Helper()
	archive, err := layer.Uncompressed()
	require.NoError(t, err)
	defer archive.Close()
	tree, err := lab.ReadTree(archive)
	require.NoError(t, err)
	return tree
}
