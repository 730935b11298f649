package bootstrap

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"binproxy/emu/arch"
	"binproxy/emu/oci"
	"binproxy/test/images"
)

// archive is a layer of entries, which are written as images.Line reads them.
func archive(t testing.TB, files ...string) []byte {
	t.Helper()
	var entries []images.Entry
	for _, f := range files {
		entries = append(entries, images.Line(f))
	}
	return images.Tar(t, entries...)
}

// layersOf returns the layers of a saved image.
func layersOf(t testing.TB, archives ...[]byte) []oci.Layer {
	t.Helper()
	image := images.Saved(t, archives...)
	store, err := oci.OpenAt(bytes.NewReader(image), int64(len(image)), "")
	require.NoError(t, err)
	layers, err := layersFor(store, arch.Get("aarch64"), "")
	require.NoError(t, err)
	return layers
}

func listing(t testing.TB, dir string) []string {
	var found []string
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		name, _ := filepath.Rel(dir, path)
		if d.Type() == fs.ModeSymlink {
			to, _ := os.Readlink(path)
			name += " -> " + to
		}
		if name != "." {
			found = append(found, name)
		}
		return err
	}))
	return found
}

func TestLayers(t *testing.T) {
	for name, c := range map[string]struct {
		layers [][]string
		want   []string
	}{
		"a whiteout":                         {[][]string{{"a", "b"}, {".wh.a"}}, []string{"b"}},
		"a whiteout of a directory":          {[][]string{{"d/", "d/x/", "d/x/y"}, {"d/.wh.x"}}, []string{"d"}},
		"a whiteout of nothing there":        {[][]string{{"a"}, {".wh.b"}}, []string{"a"}},
		"new behind its own whiteout":        {[][]string{{"a"}, {"a", ".wh.a"}}, []string{"a"}},
		"an opaque directory":                {[][]string{{"d/", "d/old", "d/e/", "d/e/old"}, {"d/", "d/e/", "d/e/new", "d/.wh..wh..opq"}}, []string{"d", "d/e", "d/e/new"}},
		"a directory in a file's place":      {[][]string{{"a"}, {"a/", "a/b"}}, []string{"a", "a/b"}},
		"a file in a directory's place":      {[][]string{{"a/", "a/b"}, {"a"}}, []string{"a"}},
		"a link in a directory's place":      {[][]string{{"lib/", "lib/x"}, {"lib -> usr/lib"}}, []string{"lib -> usr/lib"}},
		"through a link, inside":             {[][]string{{"usr/lib/", "lib -> usr/lib"}, {"lib/x"}}, []string{"lib -> usr/lib", "usr", "usr/lib", "usr/lib/x"}},
		"through an absolute link":           {[][]string{{"run/", "var/", "var/run -> /run"}, {"var/run/pid"}}, []string{"run", "run/pid", "var", "var/run -> /run"}},
		"through a link that leads up":       {[][]string{{"up -> ../../../../etc"}, {"up/x"}}, []string{"etc", "etc/x", "up -> ../../../../etc"}},
		"a hard link, and one through links": {[][]string{{"a", "b => a", "d/", "l -> d", "d/f", "c => /l/f"}}, []string{"a", "b", "c", "d", "d/f", "l -> d"}},
		"no directory entries at all":        {[][]string{{"x/y/z"}}, []string{"x", "x/y", "x/y/z"}},
		"a leading slash and dot":            {[][]string{{"/a", "./b"}}, []string{"a", "b"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			var archives [][]byte
			for _, l := range c.layers {
				archives = append(archives, archive(t, l...))
			}
			require.NoError(t, unpackLayers(dir, layersOf(t, archives...), io.Discard))
			assert.Equal(t, c.want, listing(t, dir))
		})
	}
}

func TestLayersRefuse(t *testing.T) {
	for says, files := range map[string][]string{
		"too many symbolic links": {"a -> b", "b -> a", "a/x"},
		"no such file":            {"b => nothing"},
	} {
		dir := filepath.Join(t.TempDir(), "root")
		require.NoError(t, os.Mkdir(dir, 0o755))
		assert.ErrorContains(t, unpackLayers(dir, layersOf(t, archive(t, files...)), io.Discard), says)
		assert.Equal(t, []string{"root"}, namesIn(t, filepath.Dir(dir)), "outside")
	}
	assert.ErrorContains(t, unpackLayers(t.TempDir(), layersOf(t, archive(t)), io.Discard), "nothing in it")
	assert.ErrorContains(t, unpackLayers(t.TempDir(), layersOf(t, []byte("\x28\xb5\x2f\xfdrest of it")), io.Discard), "zstd: the frame wants a dictionary")
}

// heap records how much memory is in use when something is written to it.
type heap struct{ most uint64 }

func (h *heap) Write(b []byte) (int, error) {
	var now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&now)
	h.most = max(h.most, now.HeapAlloc)
	return len(b), nil
}

// TestHeadersAreNotKept: what headers contain beyond the root's needs is dropped. The line about
// the device is written at the end.
func TestHeadersAreNotKept(t *testing.T) {
	var layer bytes.Buffer
	z := gzip.NewWriter(&layer)
	w := tar.NewWriter(z)
	much := map[string]string{"BINPROXY.much": strings.Repeat("x", 900_000)}
	for n := range 200 {
		require.NoError(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: fmt.Sprintf("d%d/", n), Mode: 0o755, Uid: os.Getuid(), Gid: os.Getgid(), PAXRecords: much}))
	}
	require.NoError(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeChar, Name: "null"}))
	require.NoError(t, w.Close())
	require.NoError(t, z.Close())
	layers := layersOf(t, layer.Bytes())
	var before, after heap
	_, _ = before.Write(nil)
	require.NoError(t, unpackLayers(t.TempDir(), layers, &after))
	require.Less(t, after.most, before.most+16<<20)
}

func namesIn(t testing.TB, dir string) (names []string) {
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// Whatever a layer contains, nothing outside the root changes.
func FuzzLayers(f *testing.F) {
	// The file system takes no way twice, so that no find would be small enough for a minute.
	require.NoError(f, flag.Set("test.fuzzminimizetime", "100x"))
	f.Add("a\nl -> /tmp\nl/x\n.wh.a", "d/.wh..wh..opq\nb => l/x", []byte{})
	f.Add("up -> ../..\nup/x", "a", []byte{0, 0, 0x1f, 1, 0, 0x8b})
	f.Fuzz(func(t *testing.T, lower, upper string, damage []byte) {
		first, second := images.Tar(t, images.Lines(lower)...), images.Damaged(images.Tar(t, images.Lines(upper)...), damage)
		top := t.TempDir()
		require.NoError(t, os.Mkdir(top+"/root", 0o755))
		require.NoError(t, os.WriteFile(top+"/x", []byte("outside"), 0o600))
		_ = unpackLayers(top+"/root", layersOf(t, first, second), io.Discard)
		assert.Equal(t, []string{"root", "x"}, namesIn(t, top))
		text, err := os.ReadFile(top + "/x")
		assert.NoError(t, err)
		assert.Equal(t, "outside", string(text))
	})
}

// layoutLayers returns the layers of the ABI's image in a layout.
func layoutLayers(t testing.TB, l images.Layout, abi, ref string) ([]oci.Layer, error) {
	t.Helper()
	image := l.Tar(t)
	store, err := oci.OpenAt(bytes.NewReader(image), int64(len(image)), "")
	require.NoError(t, err)
	return layersFor(store, arch.Get(abi), ref)
}

// An index in an index, as BuildKit makes it, with an attestation beside the images.
func TestOCI(t *testing.T) {
	l := images.Layout{}
	image := func(platform, layer string) string { return l.Image(platform, []byte(layer), l.Add) }
	inner := l.Add(fmt.Sprintf(`{"manifests":[{"digest":%q,"platform":{"os":"linux","architecture":"amd64"}},{"digest":%q,"platform":{"os":"linux","architecture":"arm","variant":"v7"}},`+
		`{"digest":%q,"platform":{"os":"unknown","architecture":"unknown"}}]}`, image("amd64", "no"), image("arm/v7", string(archive(t, "armv7"))), image("unknown", "no")))
	l["index.json"] = fmt.Sprintf(`{"manifests":[{"digest":%q,"annotations":{"org.opencontainers.image.ref.name":"other"}},{"digest":%q,"annotations":{"org.opencontainers.image.ref.name":"it"}}]}`,
		image("arm/v7", string(archive(t, "other"))), inner)
	dir := t.TempDir()
	layers, err := layoutLayers(t, l, "armhf", "it")
	require.NoError(t, err)
	require.NoError(t, unpackLayers(dir, layers, io.Discard))
	assert.Equal(t, []string{"armv7"}, listing(t, dir))
	_, err = layoutLayers(t, l, "s390x", "it")
	assert.ErrorContains(t, err, "it has: an image called other, linux/amd64, linux/arm/v7, unknown/unknown")
	_, err = layoutLayers(t, l, "armhf", "none")
	assert.ErrorContains(t, err, "an image called it")
	_, err = layoutLayers(t, images.Layout{}.Index(), "armhf", "")
	assert.ErrorContains(t, err, "it has: no image at all")

	// Files of other platforms may be missing.
	for name, blob := range l {
		if blob == "no" {
			delete(l, name)
		}
	}
	_, err = layoutLayers(t, l, "armhf", "it")
	assert.NoError(t, err)
}

// unpacked makes a root from an archive.
func unpacked(t testing.TB, archive []byte) ([]string, error) {
	t.Helper()
	top := t.TempDir()
	path, root := filepath.Join(top, "image"), filepath.Join(top, "root")
	require.NoError(t, os.WriteFile(path, archive, 0o644))
	require.NoError(t, os.Mkdir(root, 0o755))
	err := unpackImage(Options{ABI: arch.Get("aarch64"), From: "tar:" + path}, root, io.Discard)
	assert.Equal(t, []string{"image", "root"}, namesIn(t, top))
	return listing(t, root), err
}

// The refusals and limits of every reader of images apply here.
func TestAgreedImages(t *testing.T) {
	for _, c := range images.AllAgreed(t) {
		t.Run(c.Name, func(t *testing.T) {
			found, err := unpacked(t, c.Image)
			if c.Says != "" {
				require.ErrorContains(t, err, c.Says)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, []string{"bin", "bin/p"}, found)
		})
	}
}

// An archive without an image is a root.
func TestRootsArchive(t *testing.T) {
	root := images.Tar(t, images.Entry{Name: "bin/sh", Body: []byte("#!")}, images.Entry{Name: "etc/manifest.json", Body: []byte("{}")},
		images.Entry{Name: "lib", SymLink: "../../usr/lib"})
	for _, packed := range [][]byte{root, images.Gzip(t, root), images.Zstd(t, root)} {
		found, err := unpacked(t, packed)
		require.NoError(t, err)
		assert.Equal(t, []string{"bin", "bin/sh", "etc", "etc/manifest.json", "lib -> ../../usr/lib"}, found)
	}
}

// A pipe is read as well, packed or not.
func TestPipe(t *testing.T) {
	image := images.Saved(t, archive(t, "a"))
	for _, packed := range [][]byte{image, images.Gzip(t, image)} {
		top := t.TempDir()
		require.NoError(t, os.Mkdir(top+"/root", 0o755))
		require.NoError(t, unix.Mkfifo(top+"/pipe", 0o600))
		wrote := make(chan error, 1)
		go func() { wrote <- os.WriteFile(top+"/pipe", packed, 0o600) }()
		require.NoError(t, unpackImage(Options{ABI: arch.Get("aarch64"), From: "tar:" + top + "/pipe"}, top+"/root", io.Discard))
		require.NoError(t, <-wrote)
		assert.Equal(t, []string{"a"}, listing(t, top+"/root"))
	}
}
