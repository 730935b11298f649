// Package images makes container images for tests: layouts, archives of docker save, and images
// that every reader has to treat alike.
package images

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"binproxy/test/lib/need"
)

// Entry is one entry of an archive: a directory if the name ends in "/", a link if one of the two
// is set, else a file.
type Entry struct {
	Name, HardLink, SymLink string
	Body                    []byte
}

// Tar is an archive of entries that belong to the user who runs the test.
func Tar(t testing.TB, entries ...Entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e.Name, Mode: 0o755, Size: int64(len(e.Body)), Uid: os.Getuid(), Gid: os.Getgid()}
		switch {
		case e.HardLink != "":
			h.Typeflag, h.Linkname = tar.TypeLink, e.HardLink
		case e.SymLink != "":
			h.Typeflag, h.Linkname = tar.TypeSymlink, e.SymLink
		case strings.HasSuffix(e.Name, "/"):
			h.Typeflag = tar.TypeDir
		default:
			h.Typeflag = tar.TypeReg
		}
		require.NoError(t, w.WriteHeader(h))
		_, err := w.Write(e.Body)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

// Gzip packs bytes.
func Gzip(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write(b)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return out.Bytes()
}

// Zstd packs bytes by zstd(1).
func Zstd(t testing.TB, b []byte) []byte {
	t.Helper()
	cmd := exec.Command(need.Program(t, "zstd", "zstd"), "-c", "-q")
	cmd.Stdin = bytes.NewReader(b)
	out, err := cmd.Output()
	require.NoError(t, err)
	return out
}

// Layout is the files of an image by their paths.
type Layout map[string]string

// Add adds a blob and gives its digest.
func (l Layout) Add(blob string) string { return l.add("sha256", sha256.Sum256([]byte(blob)), blob) }

// Add512 is Add with the longer digest.
func (l Layout) Add512(blob string) string { return l.add("sha512", sha512.Sum512([]byte(blob)), blob) }

func (l Layout) add(algorithm string, sum any, blob string) string {
	digits := fmt.Sprintf("%x", sum)
	l["blobs/"+algorithm+"/"+digits] = blob
	return algorithm + ":" + digits
}

// Config describes a platform, as in arm/v7.
func Config(platform string) string {
	architecture, variant, _ := strings.Cut(platform, "/")
	return fmt.Sprintf(`{"os":"linux","architecture":%q,"variant":%q}`, architecture, variant)
}

// Image adds an image of one layer and gives the manifest's digest.
func (l Layout) Image(platform string, layer []byte, add func(blob string) string) string {
	return add(fmt.Sprintf(`{"config":{"digest":%q},"layers":[{"digest":%q}]}`, add(Config(platform)), add(string(layer))))
}

// Index makes manifests the layout's.
func (l Layout) Index(digests ...string) Layout {
	var list []string
	for _, d := range digests {
		list = append(list, fmt.Sprintf(`{"digest":%q}`, d))
	}
	l["oci-layout"] = `{"imageLayoutVersion":"1.0.0"}`
	l["index.json"] = `{"manifests":[` + strings.Join(list, ",") + `]}`
	return l
}

// Directory writes the layout.
func (l Layout) Directory(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range l {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o777))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o666))
	}
	return dir
}

// Tar is the layout in an archive.
func (l Layout) Tar(t testing.TB) []byte {
	t.Helper()
	var entries []Entry
	for _, name := range slices.Sorted(maps.Keys(l)) {
		entries = append(entries, Entry{Name: name, Body: []byte(l[name])})
	}
	return Tar(t, entries...)
}

// Saved is an image for arm64 in docker save's old form, with layers from the lowest up.
func Saved(t testing.TB, layers ...[]byte) []byte {
	t.Helper()
	var entries []Entry
	var names []string
	for n, l := range layers {
		names = append(names, fmt.Sprintf("l%d/layer.tar", n))
		entries = append(entries, Entry{Name: names[n], Body: l})
	}
	return Tar(t, append(entries, manifest(names...)...)...)
}

// manifest names the layers of a saved image.
func manifest(layers ...string) []Entry {
	list := strings.Join(layers, `","`)
	return []Entry{
		{Name: "c.json", Body: []byte(Config("arm64"))},
		{Name: "manifest.json", Body: []byte(`[{"Config":"c.json","RepoTags":["a:b"],"Layers":["` + list + `"]}]`)},
	}
}
