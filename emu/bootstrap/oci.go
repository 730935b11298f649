package bootstrap

import (
	"archive/tar"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"binproxy/emu/arch"
)

// unpackOCI finds the image of the ABI in the layout (of that name, if one is given) and unpacks its layers.
func unpackOCI(s source, abi *arch.ABI, ref, root string, progress io.Writer) error {
	var index struct{ Manifests []descriptor }
	if err := readJSON(s, "index.json", &index); err != nil {
		return err
	}
	var seen []string
	manifest, err := pick(s, index.Manifests, abi, ref, maxNested, &seen)
	if err != nil {
		return err
	}
	if manifest == nil {
		return fmt.Errorf("the image has nothing for %s; it has: %s", abi.Name, cmp.Or(strings.Join(seen, ", "), "no image at all"))
	}
	if len(manifest.Layers) > maxLayers {
		return fmt.Errorf("the image has %d layers; one has not over %d", len(manifest.Layers), maxLayers)
	}
	var layers []layer
	for _, d := range manifest.Layers {
		blob, err := blobPath(d.Digest)
		if err != nil {
			return err
		}
		layers = append(layers, layer{name: d.Digest, open: func() (io.Reader, error) { return openVerified(s, blob, d.Digest) }})
	}
	return unpackLayers(root, layers, progress)
}

type imageManifest struct {
	Config descriptor
	Layers []descriptor
}

// pick finds the ABI's image in a list of manifests and of further lists. What there is for others it notes in seen.
func pick(s source, list []descriptor, abi *arch.ABI, ref string, depth int, seen *[]string) (*imageManifest, error) {
	if depth == 0 {
		return nil, errors.New("the image's indexes are nested too deep")
	}
	for _, d := range list {
		if name := d.Annotations["org.opencontainers.image.ref.name"]; ref != "" && name != ref {
			*seen = append(*seen, "an image called "+name)
			continue
		}
		if d.Platform != nil && d.Platform.Architecture != "" && !d.Platform.matches(abi) {
			*seen = append(*seen, d.Platform.String())
			continue
		}
		found, err := look(s, d, abi, depth, seen)
		if found != nil || err != nil {
			return found, err
		}
	}
	return nil, nil
}

// look reads what a descriptor leads to: an image or an index.
func look(s source, d descriptor, abi *arch.ABI, depth int, seen *[]string) (*imageManifest, error) {
	blob, err := blobPath(d.Digest)
	if err != nil {
		return nil, err
	}
	var either struct {
		imageManifest
		Manifests []descriptor
	}
	if err := readVerified(s, blob, d.Digest, &either); err != nil {
		return nil, err
	}
	if either.Manifests != nil {
		return pick(s, either.Manifests, abi, "", depth-1, seen)
	}
	configBlob, err := blobPath(either.Config.Digest)
	if err != nil {
		return nil, err
	}
	var config platform
	if err := readVerified(s, configBlob, either.Config.Digest, &config); err != nil {
		return nil, err
	}
	if !config.matches(abi) {
		*seen = append(*seen, config.String())
		return nil, nil
	}
	return &either.imageManifest, nil
}

// blobPath is where a layout keeps what has the digest.
func blobPath(digest string) (string, error) {
	hexDigits, ok := strings.CutPrefix(digest, "sha256:")
	if raw, err := hex.DecodeString(hexDigits); !ok || err != nil || len(raw) != sha256.Size || hexDigits != strings.ToLower(hexDigits) {
		return "", fmt.Errorf("digest %.80q: it is sha256: and 64 digits", digest)
	}
	return "blobs/sha256/" + hexDigits, nil
}

// readVerified is readJSON of a blob, which has to have its digest.
func readVerified(s source, blob, digest string, into any) error {
	r, err := openVerified(s, blob, digest)
	if err != nil {
		return err
	}
	if c, ok := r.(io.Closer); ok {
		c.Close()
	}
	return readJSON(s, blob, into)
}

// openVerified opens a blob after it was read to its end and had its digest: nothing of a damaged one is unpacked.
func openVerified(s source, blob, digest string) (io.Reader, error) {
	r, _, err := s.open(blob)
	if err != nil {
		return nil, err
	}
	h := sha256.New()
	_, err = io.Copy(h, r)
	if c, ok := r.(io.Closer); ok {
		err = errors.Join(err, c.Close())
	}
	if err != nil {
		return nil, err
	}
	if got := "sha256:" + hex.EncodeToString(h.Sum(nil)); got != digest {
		return nil, fmt.Errorf("the image is damaged: what should be %s is %s", digest, got)
	}
	r, _, err = s.open(blob)
	return r, err
}

// unpackSaved is docker save's own form: manifest.json lists the images, each with its layers in order.
func unpackSaved(s source, abi *arch.ABI, root string, progress io.Writer) error {
	var images []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	if err := readJSON(s, "manifest.json", &images); err != nil {
		return err
	}
	var seen []string
	for _, image := range images {
		var config platform
		if err := readJSON(s, image.Config, &config); err != nil {
			return err
		}
		if !config.matches(abi) {
			seen = append(seen, config.String())
			continue
		}
		if len(image.Layers) > maxLayers {
			return fmt.Errorf("the image has %d layers; one has not over %d", len(image.Layers), maxLayers)
		}
		var layers []layer
		for _, name := range image.Layers {
			layers = append(layers, layer{name: name, open: func() (io.Reader, error) {
				r, _, err := s.open(name)
				return r, err
			}})
		}
		return unpackLayers(root, layers, progress)
	}
	return fmt.Errorf("the archive has nothing for %s; it has: %s", abi.Name, cmp.Or(strings.Join(seen, ", "), "no image at all"))
}

// archiveSource is the files of a tar archive, by their names, without unpacking it.
type archiveSource struct {
	file    io.ReaderAt
	entries map[string]span
}

// span is where a file lies in the archive; link is set for a link to another one.
type span struct {
	at, size int64
	link     string
}

// maxEntries is how many files an archive of an image may have, be it a saved image or a layer.
const maxEntries = 8 << 20

// indexArchive notes where the files of the image's own are; a root's files are of no use here, and only the top of the tree can tell.
func indexArchive(f *os.File) (*archiveSource, error) {
	a := &archiveSource{file: f, entries: map[string]span{}}
	tr := tar.NewReader(f)
	for range maxEntries {
		h, err := tr.Next()
		if err == io.EOF {
			return a, nil
		}
		if err != nil {
			return nil, err
		}
		at, err := f.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, err
		}
		name := path.Clean(strings.TrimPrefix(h.Name, "/"))
		switch h.Typeflag {
		case tar.TypeReg:
			a.entries[name] = span{at: at, size: h.Size}
		case tar.TypeSymlink: // docker save once shared layers by links
			a.entries[name] = span{link: path.Join(path.Dir(name), h.Linkname)}
		case tar.TypeLink:
			a.entries[name] = span{link: path.Clean(h.Linkname)}
		}
	}
	return nil, fmt.Errorf("it has more than %d entries", maxEntries)
}

func (a *archiveSource) open(name string) (io.Reader, int64, error) {
	e, ok := a.entries[path.Clean(name)]
	if ok && e.link != "" {
		e, ok = a.entries[e.link]
	}
	if !ok || e.link != "" {
		return nil, 0, fmt.Errorf("%q: the archive has no such file: %w", name, fs.ErrNotExist)
	}
	return io.NewSectionReader(a.file, e.at, e.size), e.size, nil
}

func (a *archiveSource) has(name string) bool {
	_, ok := a.entries[name]
	return ok
}
