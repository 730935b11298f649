package oci_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"binproxy/emu/oci"
	"binproxy/test/images"
)

func all(string, oci.Platform) bool { return true }

// contents lists the names in all images of a store, after each image's platform.
func contents(s *oci.Store) ([]string, error) {
	var found []string
	for image, err := range s.Images(all) {
		if err != nil {
			return found, err
		}
		p, err := image.Platform()
		if err != nil {
			return found, err
		}
		found = append(found, p.String())
		for _, l := range image.Layers {
			names, err := entries(l)
			if err != nil {
				return found, fmt.Errorf("layer %s: %w", l.Name, err)
			}
			found = append(found, names...)
		}
	}
	return found, nil
}

// entries lists the changes of a layer, and the content of its files.
func entries(l oci.Layer) (found []string, err error) {
	return found, l.Walk(func(e oci.Entry) error {
		text, err := io.ReadAll(e.Contents)
		found = append(found, fmt.Sprintf("%s%s%s", []string{"", "remove ", "empty "}[e.Kind], e.Path, text))
		return err
	})
}

func open(b []byte) (*oci.Store, error) { return oci.OpenAt(bytes.NewReader(b), int64(len(b)), "") }

func contentsOf(b []byte) ([]string, error) {
	s, err := open(b)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	return contents(s)
}

// two is a layout of two images, one of them in an inner index.
func two(t testing.TB) images.Layout {
	t.Helper()
	l := images.Layout{}
	arm := l.Image("arm/v7", images.Tar(t, images.Entry{Name: "./a", Body: []byte(" is it")}), l.Add)
	amd := l.Image("amd64", images.Gzip(t, images.Tar(t, images.Entry{Name: "d/"}, images.Entry{Name: "d/.wh..wh..opq"}, images.Entry{Name: "/.wh.x"})), l.Add512)
	return l.Index(l.Add(`{"manifests":[{"digest":"`+arm+`"}]}`), amd)
}

var inTwo = []string{"linux/arm/v7", "a is it", "linux/amd64", "d", "empty d", "remove x"}

// Every form of a store contains the same.
func TestForms(t *testing.T) {
	l := two(t)
	dir := l.Directory(t)
	root, err := os.OpenRoot(dir)
	require.NoError(t, err)
	defer root.Close()
	found, err := contents(oci.Dir(root))
	require.NoError(t, err)
	assert.Equal(t, inTwo, found)
	temp := t.TempDir()
	for _, archive := range [][]byte{l.Tar(t), images.Gzip(t, l.Tar(t)), images.Zstd(t, l.Tar(t))} {
		path := filepath.Join(dir, "archive")
		require.NoError(t, os.WriteFile(path, archive, 0o600))
		f, err := os.Open(path)
		require.NoError(t, err)
		s, err := oci.Open(f, temp)
		require.NoError(t, err)
		found, err := contents(s)
		require.NoError(t, err)
		assert.Equal(t, inTwo, found)
		assert.NoError(t, s.Close())
		f.Close()
	}
	left, err := os.ReadDir(temp)
	require.NoError(t, err)
	assert.Empty(t, left)
}

// An image that is not wanted is not read, and the search ends when the caller ends it.
func TestWanted(t *testing.T) {
	l := two(t)
	l["index.json"] = `{"manifests":[{"digest":"none","annotations":{"org.opencontainers.image.ref.name":"it"},"platform":{"os":"linux","architecture":"arm"}},` +
		l["index.json"][len(`{"manifests":[`):]
	s, err := open(l.Tar(t))
	require.NoError(t, err)
	var asked []string
	for image, err := range s.Images(func(name string, p oci.Platform) bool {
		asked = append(asked, name+" "+p.String())
		return name != "it"
	}) {
		require.NoError(t, err)
		p, err := image.Platform()
		require.NoError(t, err)
		assert.Equal(t, oci.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}, p)
		break
	}
	assert.Equal(t, []string{"it linux/arm", " ", " "}, asked)
}

// A blob whose content does not match its name is an error, whatever it contains. The test makes
// each blob of an image longer, shorter or different.
func TestDigests(t *testing.T) {
	good := two(t)
	for name, blob := range good {
		if !strings.HasPrefix(name, "blobs/") {
			continue
		}
		for _, other := range []string{blob + " ", "x" + blob[1:], blob[:len(blob)-1]} {
			bad := maps.Clone(good)
			bad[name] = other
			_, err := contentsOf(bad.Tar(t))
			require.ErrorContains(t, err, name+": its digest is ")
		}
	}
}

// nested is an index in an index in an index.
func nested(depth int) images.Layout {
	l := images.Layout{}
	digest := l.Add(`{"layers":[]}`)
	for range depth {
		digest = l.Add(`{"manifests":[{"digest":"` + digest + `"}]}`)
	}
	return l.Index(digest)
}

func TestRefused(t *testing.T) {
	file := func(name, text string) images.Entry { return images.Entry{Name: name, Body: []byte(text)} }
	wide := `{"manifests":[` + strings.Repeat(`{},`, 64) + `{}]}`
	deep := `[{"Config":"c","Layers":["x"` + strings.Repeat(`,"x"`, 1024) + `]}]`
	for want, image := range map[string][]byte{
		`entry "x/../../l" leads out`:                               images.Tar(t, file("x/../../l", "")),
		"an entry with a name of 5000 bytes":                        images.Tar(t, file(strings.Repeat("x", 5000), "")),
		"damaged archive: unexpected EOF":                           images.Saved(t, make([]byte, 2000))[:1000],
		"gzip: ":                                                    []byte("\x1f\x8b000000000000"),
		"zstd: window size exceeded":                                []byte("\x28\xb5\x2f\xfd0000000000"),
		"layer l0/layer.tar: gzip: ":                                images.Saved(t, []byte("\x1f\x8b000000000000")),
		"layer l0/layer.tar: damaged archive: ":                     images.Saved(t, make([]byte, 700)[:100]),
		"manifest.json: unexpected EOF":                             images.Tar(t, file("manifest.json", "{")),
		"manifest.json: 5242880 bytes; the most":                    images.Tar(t, images.Entry{Name: "manifest.json", Body: make([]byte, 5<<20)}),
		"neither index.json":                                        images.Tar(t, file("x", "x")),
		`digest "sha256:../../x" is none`:                           images.Layout{}.Index("sha256:../../x").Tar(t),
		`digest "md5:` + strings.Repeat("0", 32) + `" is none`:      images.Layout{}.Index("md5:" + strings.Repeat("0", 32)).Tar(t),
		"blobs/sha256/00: not the name of a blob":                   images.Tar(t, file("manifest.json", `[{"Config":"blobs/sha256/00"}]`)),
		"nested 4 deep":                                             nested(5).Tar(t),
		"an index of 65 images":                                     images.Tar(t, file("index.json", wide)),
		"an image of 1025 layers":                                   images.Tar(t, file("manifest.json", deep)),
		"more than 64 images":                                       images.Tar(t, file("c", "{}"), file("manifest.json", `[{"Config":"c"}`+strings.Repeat(`,{"Config":"c"}`, 64)+`]`)),
		"the image's manifest names no config":                      nested(1).Tar(t),
		"none: file does not exist in the archive":                  images.Tar(t, file("manifest.json", `[{"Config":"none"}]`)),
		"layer none: none: file does not exist":                     images.Tar(t, file("c", "{}"), file("manifest.json", `[{"Config":"c","Layers":["none"]}]`)),
		"layer l0/layer.tar: it is compressed with bzip2, which is": images.Saved(t, []byte("BZh91AY&SY")),
	} {
		_, err := contentsOf(image)
		require.ErrorContains(t, err, want)
	}
	var crowd []images.Entry
	for n := range 1<<16 + 1 {
		crowd = append(crowd, images.Entry{Name: fmt.Sprint(n)})
	}
	_, err := contentsOf(images.Tar(t, crowd...))
	assert.ErrorIs(t, err, oci.ErrNoImage)
	assert.ErrorContains(t, err, "an archive of more than 65536 files is no image")
}

// An archive that is no image is a layer.
func TestWhole(t *testing.T) {
	for _, archive := range [][]byte{images.Tar(t, images.Entry{Name: "a"}), images.Zstd(t, images.Tar(t, images.Entry{Name: "a"}))} {
		s, err := open(archive)
		require.NoError(t, err)
		_, err = contents(s)
		assert.ErrorIs(t, err, oci.ErrNoImage)
		found, err := entries(s.Whole("archive"))
		require.NoError(t, err)
		assert.Equal(t, []string{"a"}, found)
		require.NoError(t, s.Close())
	}
}

// Nothing in a directory leads out of it, and a pipe there is not waited for.
func TestHostileDirectory(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "index.json")
	require.NoError(t, os.WriteFile(outside, []byte(`{"manifests":[]}`), 0o666))
	for says, make := range map[string]func(path string) error{
		"escapes":            func(path string) error { return os.Symlink(outside, path) },
		"not a regular file": func(path string) error { return unix.Mkfifo(path, 0o600) },
	} {
		dir := t.TempDir()
		require.NoError(t, make(filepath.Join(dir, "index.json")))
		root, err := os.OpenRoot(dir)
		require.NoError(t, err)
		_, err = contents(oci.Dir(root))
		assert.ErrorContains(t, err, says)
		root.Close()
	}
}

// The visitor can end a layer's walk; if the layer is damaged, that is the reported reason.
func TestVisitFails(t *testing.T) {
	l := two(t)
	for name, blob := range l {
		if strings.Contains(blob, "is it") {
			s, err := open(l.Tar(t))
			require.NoError(t, err)
			why := errors.New("no room")
			assert.ErrorIs(t, visit(t, s, why), why)
			l[name] = blob + "x"
			s, err = open(l.Tar(t))
			require.NoError(t, err)
			assert.ErrorContains(t, visit(t, s, why), "its digest is ")
		}
	}
}

func visit(t testing.TB, s *oci.Store, err error) error {
	t.Helper()
	for image := range s.Images(all) {
		return image.Layers[0].Walk(func(oci.Entry) error { return err })
	}
	return nil
}

func TestIsArchive(t *testing.T) {
	for _, yes := range [][]byte{images.Tar(t, images.Entry{Name: "x"}), images.Gzip(t, nil), []byte("\x28\xb5\x2f\xfd"), []byte("\xfd7zXZ\x00"), []byte("BZh9")} {
		assert.True(t, oci.IsArchive(yes))
	}
	for _, no := range []string{"", "\x1f", "hello", "\x7fELF" + strings.Repeat("\x00", 600)} {
		assert.False(t, oci.IsArchive([]byte(no)))
	}
}

// Any bytes give images or an error, and no name that leads out.
func FuzzArchive(f *testing.F) {
	forms := []func(t testing.TB, layer []byte) []byte{
		func(t testing.TB, layer []byte) []byte { return images.Saved(t, layer) },
		func(t testing.TB, layer []byte) []byte { return images.Saved(t, images.Gzip(t, layer)) },
		func(t testing.TB, layer []byte) []byte { return images.Gzip(t, images.Saved(t, layer)) },
		func(t testing.TB, layer []byte) []byte {
			l := images.Layout{}
			return l.Index(l.Image("arm64", layer, l.Add512)).Tar(t)
		},
		func(t testing.TB, layer []byte) []byte { return two(t).Tar(t) },
		func(t testing.TB, layer []byte) []byte { return layer },
	}
	for n := range forms {
		f.Add(byte(n), "p\na/.wh.b\nq => p", []byte{})
	}
	f.Fuzz(func(t *testing.T, form byte, files string, damage []byte) {
		layer := images.Tar(t, images.Lines(files)...)
		b := images.Damaged(forms[int(form)%len(forms)](t, layer), damage)
		s, err := open(b)
		if err != nil {
			return
		}
		defer s.Close()
		inside := func(e oci.Entry) error {
			if strings.HasPrefix(e.Path, "/") || slices.Contains(strings.Split(e.Path, "/"), "..") {
				t.Errorf("%q", e.Path)
			}
			_, err := io.Copy(io.Discard, e.Contents)
			return err
		}
		_ = s.Whole("it").Walk(inside)
		for image, err := range s.Images(all) {
			if err != nil {
				return
			}
			_, _ = image.Platform()
			for _, l := range image.Layers {
				_ = l.Walk(inside)
			}
		}
	})
}
