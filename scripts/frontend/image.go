package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// An Image is the image for workers of one architecture, with the files below root.
type image struct{ goarch, root string }

// labels are what BuildKit reads before it starts a frontend: that it needs no network, and its
// capabilities. They are the labels of BuildKit's own image.
var labels = map[string]string{
	"moby.buildkit.frontend.network.none": "true",
	"moby.buildkit.frontend.caps": "moby.buildkit.frontend.inputs,moby.buildkit.frontend.subrequests," +
		"moby.buildkit.frontend.contexts,moby.buildkit.frontend.gitquerystring,moby.buildkit.frontend.contexts.zstd",
}

// created is the time of every file and image: the earliest that all archive formats can contain.
var created = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

// write writes a layout whose only index, called latest, has the images. It prints the index's
// digest, which buildctl needs.
func write(dir string, images []image) error {
	if err := replaceable(dir); err != nil {
		return err
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, i := range images {
		made, err := i.make()
		if err != nil {
			return err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: made, Descriptor: v1.Descriptor{
			Platform: &v1.Platform{OS: "linux", Architecture: i.goarch},
		}})
	}
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o777)); err != nil {
		return err
	}
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	hash, err := index.Digest()
	if err != nil {
		return err
	}
	fmt.Printf("%s@%s\n", dir, hash)
	return path.AppendIndex(index, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": "latest"}))
}

// replaceable refuses a directory that contains something else than a layout.
func replaceable(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	if err == nil {
		_, err = layout.FromPath(dir)
	}
	if err != nil {
		return fmt.Errorf("%s is no layout, and not empty; choose another place with -o DIR: %w", dir, err)
	}
	return nil
}

func (i image) make() (v1.Image, error) {
	text, err := archived(os.DirFS(i.root))
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(text)), nil },
		tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	made, err := mutate.ConfigFile(base, &v1.ConfigFile{
		OS: "linux", Architecture: i.goarch, Created: v1.Time{Time: created}, RootFS: v1.RootFS{Type: "layers"},
		Config: v1.Config{Entrypoint: []string{"/frontend"}, Labels: labels},
	})
	if err != nil {
		return nil, err
	}
	return mutate.Append(made, mutate.Addendum{Layer: layer, History: v1.History{Created: v1.Time{Time: created}, CreatedBy: "make frontend"}})
}

// archived returns a tar archive of the files. A file whose contents are already in it becomes a
// hard link: each bundle has the same binproxy.
func archived(files fs.FS) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	first := map[[sha256.Size]byte]string{}
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		h := &tar.Header{Name: name, Mode: int64(info.Mode().Perm()), ModTime: created, Format: tar.FormatPAX}
		var text []byte
		switch {
		case info.IsDir():
			h.Typeflag, h.Name = tar.TypeDir, name+"/"
		case info.Mode().Type() == fs.ModeSymlink:
			h.Typeflag = tar.TypeSymlink
			h.Linkname, err = fs.ReadLink(files, name)
		default:
			if text, err = fs.ReadFile(files, name); err != nil {
				return err
			}
			text = regular(h, text, first)
		}
		if err := errors.Join(err, w.WriteHeader(h)); err != nil {
			return err
		}
		_, err = w.Write(text)
		return err
	})
	return out.Bytes(), errors.Join(err, w.Close())
}

// regular completes the header of a regular file, and returns the file's content.
func regular(h *tar.Header, text []byte, first map[[sha256.Size]byte]string) []byte {
	sum := sha256.Sum256(append(fmt.Appendf(nil, "%o ", h.Mode), text...))
	if there, ok := first[sum]; ok {
		h.Typeflag, h.Linkname = tar.TypeLink, there
		return nil
	}
	first[sum] = h.Name
	h.Typeflag, h.Size = tar.TypeReg, int64(len(text))
	return text
}
