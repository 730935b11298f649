package check

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
)

// Bounds on an image's descriptions, which are small in every real one.
const (
	maxJSON    = 4 << 20
	maxImages  = 64
	maxLayers  = 1024
	maxNesting = 4
	maxBlobs   = 1 << 16
)

// blobs are the files of an image's layout, by their path in it.
type blobs interface {
	open(name string) (content, error)
}

// content is one file of a layout.
type content interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

// dirBlobs is a layout in a directory; os.Root keeps every path inside.
type dirBlobs struct{ root *os.Root }

type sizedFile struct {
	*os.File
	size int64
}

func (f sizedFile) Size() int64 { return f.size }

func (d dirBlobs) open(name string) (content, error) {
	f, err := d.root.Open(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, plain(err))
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", name, plain(err))
	}
	return sizedFile{f, info.Size()}, nil
}

// tarBlobs is a layout in an archive: where each of its files begins.
type tarBlobs struct {
	archive io.ReaderAt
	files   map[string]place
}

type place struct{ offset, size int64 }

type sectionContent struct{ *io.SectionReader }

func (sectionContent) Close() error { return nil }

func (t tarBlobs) open(name string) (content, error) {
	p, ok := t.files[path.Clean(name)]
	if !ok {
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	return sectionContent{io.NewSectionReader(t.archive, p.offset, p.size)}, nil
}

// isArchive tells a tar archive, compressed or not, by its first bytes.
func isArchive(head []byte) bool {
	_, compressed := compression(head)
	return compressed || len(head) >= 262 && string(head[257:262]) == "ustar"
}

// checkArchive reads an archive of docker save or of an OCI layout.
func checkArchive(f io.ReaderAt, size int64, done func(*collector)) error {
	archive, cleanup, err := uncompressed(f, size)
	if err != nil {
		return err
	}
	defer cleanup()
	index, err := indexTar(archive)
	if err != nil {
		return err
	}
	return checkImage(index, done)
}

// indexTar notes where the files of an archive begin. The archive is read once, its files are passed over.
func indexTar(archive *io.SectionReader) (tarBlobs, error) {
	t := tarBlobs{archive, map[string]place{}}
	for r := tar.NewReader(archive); ; {
		h, err := r.Next()
		if err == io.EOF {
			return t, nil
		}
		if err != nil {
			return t, fmt.Errorf("damaged archive: %w", err)
		}
		name, err := cleanName(h.Name)
		if err != nil {
			return t, err
		}
		offset, err := archive.Seek(0, io.SeekCurrent)
		if err != nil {
			return t, err
		}
		switch {
		case len(t.files) == maxBlobs:
			return t, fmt.Errorf("an archive of more than %d files is no image", maxBlobs)
		case h.Typeflag == tar.TypeReg:
			t.files[name] = place{offset, h.Size}
		case h.Typeflag == tar.TypeSymlink, h.Typeflag == tar.TypeLink:
			// Older docker save links a layer that comes twice to its first copy.
			to := h.Linkname
			if h.Typeflag == tar.TypeSymlink {
				to = path.Join(path.Dir(name), to)
			}
			if to, err = cleanName(to); err != nil {
				return t, err
			}
			if p, ok := t.files[to]; ok {
				t.files[name] = p
			}
		}
	}
}

// cleanName refuses names that lead out of the archive.
func cleanName(name string) (string, error) {
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", fmt.Errorf("archive entry %q leads out of the archive", name)
		}
	}
	if len(name) > 4096 {
		return "", fmt.Errorf("archive entry of %d bytes in its name", len(name))
	}
	return strings.TrimPrefix(path.Clean("/"+name), "/"), nil
}

// checkImage finds the images of a layout and reads the layers of each.
func checkImage(b blobs, done func(*collector)) error {
	images, err := imagesOf(b)
	if err != nil {
		return err
	}
	if len(images) == 0 {
		return errors.New("it holds no image for Linux")
	}
	for _, layers := range images {
		c := newCollector()
		if err := readLayers(b, layers, c); err != nil {
			return err
		}
		done(c)
	}
	return nil
}

// descriptor points to a blob, as the OCI image specification has it.
type descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Platform  struct {
		OS string `json:"os"`
	} `json:"platform"`
}

// imagesOf lists the layers of each image, the lowest first: by OCI's index.json, else by docker's manifest.json.
func imagesOf(b blobs) ([][]string, error) {
	var index struct {
		Manifests []descriptor `json:"manifests"`
	}
	err := readJSON(b, "index.json", &index)
	if err == nil {
		return ociImages(b, index.Manifests, 0)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var manifest []struct{ Layers []string }
	if err := readJSON(b, "manifest.json", &manifest); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = errors.New("neither index.json (an OCI layout) nor manifest.json (docker save) is in it")
		}
		return nil, err
	}
	var images [][]string
	for _, m := range manifest {
		images = append(images, m.Layers)
	}
	if len(images) > maxImages {
		return nil, fmt.Errorf("%d images in one archive; the most that is read is %d", len(images), maxImages)
	}
	return images, nil
}

func ociImages(b blobs, list []descriptor, depth int) ([][]string, error) {
	if depth == maxNesting || len(list) > maxImages {
		return nil, fmt.Errorf("an index of %d images, nested %d deep; the most that is read is %d and %d", len(list), depth, maxImages, maxNesting)
	}
	var images [][]string
	for _, d := range list {
		if d.Platform.OS != "" && d.Platform.OS != "linux" {
			continue // attestations call themselves unknown
		}
		name, err := blobName(d.Digest)
		if err != nil {
			return nil, err
		}
		var m struct {
			Manifests []descriptor `json:"manifests"`
			Layers    []descriptor `json:"layers"`
		}
		if err := readJSON(b, name, &m); err != nil {
			return nil, err
		}
		if len(m.Manifests) > 0 {
			nested, err := ociImages(b, m.Manifests, depth+1)
			if err != nil {
				return nil, err
			}
			images = append(images, nested...)
			continue
		}
		var layers []string
		for _, l := range m.Layers {
			layer, err := blobName(l.Digest)
			if err != nil {
				return nil, err
			}
			layers = append(layers, layer)
		}
		images = append(images, layers)
		if len(images) > maxImages {
			return nil, fmt.Errorf("more than %d images in one layout", maxImages)
		}
	}
	return images, nil
}
