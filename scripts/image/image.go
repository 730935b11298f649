// Package image writes OCI layouts: an image of one layer for each architecture of a host. The
// same files give the same bytes.
package image

import (
	"archive/tar"
	"binproxy/emu/bundle"
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

// An Image is the image for hosts of one architecture, with the files below Root.
type Image struct {
	GOARCH, Root string
	Config       v1.Config
	By           string // the command that made it, for the history
}

// The name of an image in a layout, as skopeo and buildctl read it, and that of the index.
const (
	refName = "org.opencontainers.image.ref.name"
	latest  = "latest"
)

// Write writes a layout whose only index, called latest, has the images, and returns the index's
// digest, which buildctl needs. Each image has a name of its own as well, if named is set: its
// architecture's.
func Write(dir string, images []Image, named bool) (v1.Hash, error) {
	if err := replaceable(dir); err != nil {
		return v1.Hash{}, err
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	var all []v1.Image
	for _, i := range images {
		made, err := i.make()
		if err != nil {
			return v1.Hash{}, err
		}
		all = append(all, made)
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: made, Descriptor: v1.Descriptor{
			Platform: &v1.Platform{OS: "linux", Architecture: i.GOARCH},
		}})
	}
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o777)); err != nil {
		return v1.Hash{}, err
	}
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		return v1.Hash{}, err
	}
	hash, err := index.Digest()
	if err != nil {
		return v1.Hash{}, err
	}
	if err := path.AppendIndex(index, layout.WithAnnotations(map[string]string{refName: latest})); err != nil || !named {
		return hash, err
	}
	for n, made := range all {
		if err := path.AppendImage(made, layout.WithAnnotations(map[string]string{refName: images[n].GOARCH})); err != nil {
			return v1.Hash{}, err
		}
	}
	return hash, nil
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

func (i Image) make() (v1.Image, error) {
	created, err := bundle.Timestamp()
	if err != nil {
		return nil, err
	}
	text, err := archived(os.DirFS(i.Root), created)
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
		OS: "linux", Architecture: i.GOARCH, Created: v1.Time{Time: created}, RootFS: v1.RootFS{Type: "layers"},
		Config: i.Config,
	})
	if err != nil {
		return nil, err
	}
	return mutate.Append(made, mutate.Addendum{Layer: layer, History: v1.History{Created: v1.Time{Time: created}, CreatedBy: i.By}})
}

// archived returns a tar archive of the files. A file whose contents are already in it becomes a
// hard link: each bundle has the same binproxy.
func archived(files fs.FS, created time.Time) ([]byte, error) {
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
	err = errors.Join(err, w.Close()) // which adds the archive's end
	return out.Bytes(), err
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
