package bootstrap

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
)

// archive is a layer, with a short way to write an entry down: a name that ends in "/" is a directory, "a -> b" a symbolic link, "a => b" a hard link; others are files
// that hold their own name.
func archive(t testing.TB, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Name: f, Mode: 0o644, Typeflag: tar.TypeReg, Size: int64(len(f)), Uid: os.Getuid(), Gid: os.Getgid()}
		if name, to, ok := strings.Cut(f, " -> "); ok {
			h.Name, h.Linkname, h.Typeflag, h.Size = name, to, tar.TypeSymlink, 0
		} else if name, to, ok := strings.Cut(f, " => "); ok {
			h.Name, h.Linkname, h.Typeflag, h.Size = name, to, tar.TypeLink, 0
		} else if strings.HasSuffix(f, "/") {
			h.Typeflag, h.Size, h.Mode = tar.TypeDir, 0, 0o755
		}
		require.NoError(t, w.WriteHeader(h))
		if h.Size > 0 {
			_, err := w.Write([]byte(f))
			require.NoError(t, err)
		}
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

func layersOf(archives ...[]byte) []layer {
	var all []layer
	for n, a := range archives {
		all = append(all, layer{name: fmt.Sprint(n), open: func() (io.Reader, error) { return bytes.NewReader(a), nil }})
	}
	return all
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
			require.NoError(t, unpackLayers(dir, layersOf(archives...), io.Discard))
			assert.Equal(t, c.want, listing(t, dir))
		})
	}
}

func TestLayersRefuse(t *testing.T) {
	for says, files := range map[string][]string{
		"leads upwards":           {"../escape"},
		"leads upwards; an":       {"a/../../escape"},
		"too many symbolic links": {"a -> b", "b -> a", "a/x"},
		"no such file":            {"b => nothing"},
		"a whiteout of nothing":   {"d/.wh."},
	} {
		dir := filepath.Join(t.TempDir(), "root")
		require.NoError(t, os.Mkdir(dir, 0o755))
		assert.ErrorContains(t, unpackLayers(dir, layersOf(archive(t, files...)), io.Discard), says)
		assert.Equal(t, []string{"root"}, namesIn(t, filepath.Dir(dir)), "outside")
	}
	assert.ErrorContains(t, unpackLayers(t.TempDir(), layersOf(archive(t)), io.Discard), "nothing in it")
	assert.ErrorContains(t, unpackLayers(t.TempDir(), layersOf([]byte("\x28\xb5\x2f\xfdrest")), io.Discard), "layer 0: zstd: the frame wants a dictionary")
}

func namesIn(t testing.TB, dir string) (names []string) {
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// Whatever a layer holds, nothing beside the root changes.
func FuzzLayers(f *testing.F) {
	f.Add(archive(f, "a", "l -> /tmp", "l/x", ".wh.a"), archive(f, "d/.wh..wh..opq", "b => l/x"))
	f.Add(archive(f, "up -> ../..", "up/x"), []byte("\x1f\x8b"))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		top := t.TempDir()
		require.NoError(t, os.Mkdir(top+"/root", 0o755))
		require.NoError(t, os.WriteFile(top+"/x", []byte("outside"), 0o600))
		_ = unpackLayers(top+"/root", layersOf(first, second), io.Discard)
		assert.Equal(t, []string{"root", "x"}, namesIn(t, top))
		text, err := os.ReadFile(top + "/x")
		assert.NoError(t, err)
		assert.Equal(t, "outside", string(text))
	})
}

// blobs is a source that a test fills.
type blobs map[string]string

func (b blobs) open(path string) (io.Reader, int64, error) {
	text, ok := b[path]
	if !ok {
		return nil, 0, fs.ErrNotExist
	}
	return strings.NewReader(text), int64(len(text)), nil
}

func (b blobs) has(path string) bool { return b[path] != "" }

func (b blobs) add(text string) string {
	digest := fmt.Sprintf("%x", sha256.Sum256([]byte(text)))
	b["blobs/sha256/"+digest] = text
	return "sha256:" + digest
}

func (b blobs) image(platform, layer string) string {
	architecture, variant, _ := strings.Cut(platform, "/")
	config := b.add(fmt.Sprintf(`{"os":"linux","architecture":%q,"variant":%q}`, architecture, variant))
	return b.add(fmt.Sprintf(`{"config":{"digest":%q},"layers":[{"digest":%q}]}`, config, b.add(layer)))
}

// An index in an index, as BuildKit makes them, with an attestation beside the images.
func TestOCI(t *testing.T) {
	b := blobs{}
	inner := b.add(fmt.Sprintf(`{"manifests":[{"digest":%q,"platform":{"os":"linux","architecture":"amd64"}},{"digest":%q,"platform":{"os":"linux","architecture":"arm","variant":"v7"}},`+
		`{"digest":%q,"platform":{"os":"unknown","architecture":"unknown"}}]}`, b.image("amd64", "no"), b.image("arm/v7", string(archive(t, "armv7"))), b.image("unknown", "no")))
	b["index.json"] = fmt.Sprintf(`{"manifests":[{"digest":%q,"annotations":{"org.opencontainers.image.ref.name":"other"}},{"digest":%q,"annotations":{"org.opencontainers.image.ref.name":"it"}}]}`,
		b.image("arm/v7", string(archive(t, "other"))), inner)
	dir := t.TempDir()
	require.NoError(t, unpackOCI(b, arch.Get("armhf"), "it", dir, io.Discard))
	assert.Equal(t, []string{"armv7"}, listing(t, dir))
	assert.ErrorContains(t, unpackOCI(b, arch.Get("s390x"), "it", dir, io.Discard), "it has: an image called other, linux/amd64, linux/arm/v7, unknown/unknown")
	assert.ErrorContains(t, unpackOCI(b, arch.Get("armhf"), "none", dir, io.Discard), "an image called it")

	assert.ErrorContains(t, unpackOCI(blobs{"index.json": `{"manifests":[]}`}, arch.Get("armhf"), "", dir, io.Discard), "it has: no image at all")

	loop := blobs{}
	loop["index.json"] = fmt.Sprintf(`{"manifests":[{"digest":%q}]}`, loop.add(`{"manifests":[{"digest":"../../etc/passwd"}]}`))
	assert.ErrorContains(t, unpackOCI(loop, arch.Get("armhf"), "", dir, io.Discard), "it is sha256: and 64 digits")
	loop["blobs/sha256/"+strings.Repeat("0", 64)] = "{}"
	loop["index.json"] = `{"manifests":[{"digest":"sha256:` + strings.Repeat("0", 64) + `"}]}`
	assert.ErrorContains(t, unpackOCI(loop, arch.Get("armhf"), "", dir, io.Discard), "the image is damaged")
}

func FuzzOCI(f *testing.F) {
	f.Add(`{"manifests":[{"digest":"sha256:0"}]}`, `{"config":{},"layers":[{}]}`)
	f.Fuzz(func(t *testing.T, index, manifest string) {
		b := blobs{"index.json": index}
		digest := b.add(manifest)
		_ = unpackOCI(b, arch.Get("aarch64"), "", t.TempDir(), io.Discard)
		text, err := json.Marshal(map[string]any{"manifests": []any{map[string]any{"digest": digest}}})
		require.NoError(t, err)
		b["index.json"] = string(text)
		_ = unpackOCI(b, arch.Get("aarch64"), "", t.TempDir(), io.Discard)
	})
}

// Docker save's own form, with a layer shared by a link, and a plain root's archive, both from one file.
func TestArchives(t *testing.T) {
	dir := t.TempDir()
	save := func(name string, files map[string]string, links map[string]string) string {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for n, to := range links {
			require.NoError(t, w.WriteHeader(&tar.Header{Name: n, Linkname: to, Typeflag: tar.TypeSymlink}))
		}
		for n, text := range files {
			require.NoError(t, w.WriteHeader(&tar.Header{Name: n, Size: int64(len(text)), Mode: 0o644, Uid: os.Getuid(), Gid: os.Getgid()}))
			_, err := w.Write([]byte(text))
			require.NoError(t, err)
		}
		require.NoError(t, w.Close())
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, b.Bytes(), 0o644))
		return path
	}
	unpack := func(path string) ([]string, error) {
		root := filepath.Join(t.TempDir(), "root")
		require.NoError(t, os.Mkdir(root, 0o755))
		err := unpackImage(Options{ABI: arch.Get("aarch64"), From: "tar:" + path}, root, io.Discard)
		return listing(t, root), err
	}
	saved := save("saved", map[string]string{
		"manifest.json": `[{"Config":"amd.json","Layers":[]},{"Config":"arm.json","Layers":["1/layer.tar","2/layer.tar"]}]`,
		"amd.json":      `{"os":"linux","architecture":"amd64"}`, "arm.json": `{"os":"linux","architecture":"arm64","variant":"v8"}`,
		"1/layer.tar": string(archive(t, "a", "b")),
		"3/layer.tar": string(archive(t, ".wh.a", "c")),
	}, map[string]string{"2/layer.tar": "../3/layer.tar"})
	found, err := unpack(saved)
	require.NoError(t, err)
	assert.Equal(t, []string{"b", "c"}, found)
	found, err = unpack(save("export", map[string]string{"bin/sh": "#!", "etc/manifest.json": "{}"}, nil))
	require.NoError(t, err)
	assert.Equal(t, []string{"bin", "bin/sh", "etc", "etc/manifest.json"}, found)
	_, err = unpack(save("other", map[string]string{"manifest.json": `[{"Config":"c","Layers":[]}]`, "c": `{"architecture":"riscv64"}`}, nil))
	assert.ErrorContains(t, err, "the archive has nothing for aarch64; it has: riscv64")
	_, err = unpack(save("lost", map[string]string{"manifest.json": `[{"Config":"c","Layers":["../../x"]}]`, "c": `{"architecture":"arm64"}`}, nil))
	assert.ErrorContains(t, err, "the archive has no such file")
}
