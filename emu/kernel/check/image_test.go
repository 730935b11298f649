package check

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"binproxy/test/images"
)

// checkBytes checks a file with the bytes, and gives the files of the findings against 3.10.
func checkBytes(t testing.TB, b []byte) ([]string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image.tar")
	require.NoError(t, os.WriteFile(path, b, 0o666))
	return checkFiles(t, path)
}

func checkFiles(t testing.TB, path string) ([]string, error) {
	t.Helper()
	report, err := Run([]string{path}, promised(t, "3.10"), Options{})
	if err != nil {
		return nil, err
	}
	files := []string{}
	for _, f := range report.Findings {
		files = append(files, f.File)
	}
	return files, nil
}

var needy = tiny([3]uint32{3, 2, 0}, codeX86) // pidfd_open
var tame = tiny([3]uint32{3, 2, 0}, nil)

// A layer hides what is below it: by a name, by a whiteout, by an opaque directory, by a file in a
// directory's place.
func TestLayers(t *testing.T) {
	for name, c := range map[string]struct {
		layers [][]images.Entry // from the lowest up
		want   []string
	}{
		"one":                   {[][]images.Entry{{{Name: "bin/p", Body: needy}}}, []string{"/bin/p"}},
		"with ./":               {[][]images.Entry{{{Name: "./bin/p", Body: needy}}}, []string{"/bin/p"}},
		"replaced":              {[][]images.Entry{{{Name: "bin/p", Body: needy}}, {{Name: "bin/p", Body: tame}}}, []string{}},
		"replaced by a needy":   {[][]images.Entry{{{Name: "bin/p", Body: tame}}, {{Name: "bin/p", Body: needy}}}, []string{"/bin/p"}},
		"whiteout":              {[][]images.Entry{{{Name: "bin/p", Body: needy}}, {{Name: "bin/.wh.p"}}}, []string{}},
		"whiteout of directory": {[][]images.Entry{{{Name: "a/bin/p", Body: needy}}, {{Name: "a/.wh.bin"}}}, []string{}},
		"whiteout, then again":  {[][]images.Entry{{{Name: "bin/p", Body: tame}}, {{Name: "bin/.wh.p"}}, {{Name: "bin/p", Body: needy}}}, []string{"/bin/p"}},
		"whiteout and itself":   {[][]images.Entry{{{Name: "bin/p", Body: tame}}, {{Name: "bin/.wh.p"}, {Name: "bin/p", Body: needy}}}, []string{"/bin/p"}},
		"opaque":                {[][]images.Entry{{{Name: "d/p", Body: needy}, {Name: "e/p", Body: needy}}, {{Name: "d/.wh..wh..opq"}, {Name: "d/q", Body: needy}}}, []string{"/d/q", "/e/p"}},
		"file for a directory":  {[][]images.Entry{{{Name: "d/p", Body: needy}}, {{Name: "d", Body: tame}}}, []string{}},
		"directory stays":       {[][]images.Entry{{{Name: "d/p", Body: needy}}, {{Name: "d/"}}}, []string{"/d/p"}},
		"hard link":             {[][]images.Entry{{{Name: "p", Body: needy}, {Name: "q", HardLink: "p"}}}, []string{"/p"}},
		"the running system's":  {[][]images.Entry{{{Name: "proc/p", Body: needy}, {Name: "dev/p", Body: needy}}}, []string{}},
	} {
		var layers [][]byte
		for i, l := range c.layers {
			b := images.Tar(t, l...)
			if i%2 == 1 {
				b = images.Gzip(t, b)
			}
			layers = append(layers, b)
		}
		for _, image := range [][]byte{images.Saved(t, layers...), images.Gzip(t, images.Saved(t, layers...))} {
			got, err := checkBytes(t, image)
			require.NoError(t, err, name)
			require.Equal(t, c.want, got, name)
		}
	}
}

// ociImage is a layout of one image with a nested index and an attestation, which is not an image.
func ociImage(layer []byte) images.Layout {
	l := images.Layout{}
	manifest := l.Add(`{"layers":[{"digest":"` + l.Add(string(layer)) + `"}]}`)
	index := l.Add(`{"manifests":[{"digest":"` + manifest + `","platform":{"os":"linux"}},{"digest":"sha256:` + strings.Repeat("9", 64) + `","platform":{"os":"unknown"}}]}`)
	return l.Index(index)
}

func TestOCILayout(t *testing.T) {
	layer := images.Tar(t, images.Entry{Name: "p", Body: needy})
	for name, packed := range map[string][]byte{"plain": layer, "gzip": images.Gzip(t, layer), "zstd": images.Zstd(t, layer)} {
		image := ociImage(packed)
		got, err := checkFiles(t, image.Directory(t))
		require.NoError(t, err, name)
		require.Equal(t, []string{"/p"}, got, name)
		for _, whole := range [][]byte{image.Tar(t), images.Gzip(t, image.Tar(t)), images.Zstd(t, image.Tar(t))} {
			got, err = checkBytes(t, whole)
			require.NoError(t, err, name)
			require.Equal(t, []string{"/p"}, got, name)
		}
	}
}

// Each blob of an image has to match the digest in its name: one byte more, or another one, is an
// error.
func TestDigests(t *testing.T) {
	good := ociImage(images.Gzip(t, images.Tar(t, images.Entry{Name: "p", Body: needy})))
	for name, blob := range good {
		if !strings.HasPrefix(name, "blobs/") {
			continue
		}
		for _, other := range []string{blob + " ", "x" + blob[1:], blob[:len(blob)-1]} {
			bad := maps.Clone(good)
			bad[name] = other
			_, err := checkFiles(t, bad.Directory(t))
			require.ErrorContains(t, err, name+": its digest is ")
		}
	}
	// An archive of docker save also names its layers by digests, since it is a layout, too.
	saved := images.Layout{}
	layer := strings.Replace(saved.Add(string(images.Tar(t, images.Entry{Name: "p", Body: needy}))), "sha256:", "blobs/sha256/", 1)
	saved["manifest.json"] = `[{"Layers":["` + layer + `"]}]`
	got, err := checkBytes(t, saved.Tar(t))
	require.NoError(t, err)
	require.Equal(t, []string{"/p"}, got)
	saved[layer] += "x"
	_, err = checkBytes(t, saved.Tar(t))
	require.ErrorContains(t, err, "its digest is ")
}

// A root directory is read as it is, without following links.
func TestTree(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "usr/bin"), 0o777))
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "proc"), 0o777))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "usr/bin/p"), needy, 0o777))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "proc/p"), needy, 0o777))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "text"), []byte("text"), 0o777))
	require.NoError(t, os.Symlink("usr/bin", filepath.Join(dir, "bin")))
	require.NoError(t, os.Symlink("/", filepath.Join(dir, "out")))
	got, err := checkFiles(t, dir)
	require.NoError(t, err)
	require.Equal(t, []string{"/usr/bin/p"}, got)
}

// check accepts and refuses the images that every reader of images accepts and refuses.
func TestAgreedImages(t *testing.T) {
	for _, c := range images.AllAgreed(t) {
		t.Run(c.Name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "image.tar")
			require.NoError(t, os.WriteFile(path, c.Image, 0o666))
			report, err := Run([]string{path}, promised(t, "6.1"), Options{})
			if c.Says != "" {
				require.ErrorContains(t, err, c.Says)
				return
			}
			require.NoError(t, err)
			require.Equal(t, 1, report.Files)
		})
	}
}

func TestRefusedFiles(t *testing.T) {
	for want, file := range map[string][]byte{
		"neither index.json":                   images.Tar(t, images.Entry{Name: "x", Body: []byte("x")}),
		"it holds no image":                    images.Tar(t, images.Entry{Name: "manifest.json", Body: []byte(`[]`)}),
		"neither an ELF file, nor a directory": []byte("hello"),
	} {
		_, err := checkBytes(t, file)
		require.ErrorContains(t, err, want)
	}
	_, err := checkFiles(t, "/nonexistent")
	require.EqualError(t, err, "/nonexistent: no such file or directory")
}

// A link in a layout may not lead out of it.
func TestLayoutWithLinksOut(t *testing.T) {
	dir := t.TempDir()
	outside := filepath.Join(t.TempDir(), "index.json")
	require.NoError(t, os.WriteFile(outside, []byte(`{"manifests":[]}`), 0o666))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "oci-layout"), nil, 0o666))
	require.NoError(t, os.Symlink(outside, filepath.Join(dir, "index.json")))
	_, err := checkFiles(t, dir)
	require.ErrorContains(t, err, "escapes")
}

func FuzzArchive(f *testing.F) {
	forms := []func(t testing.TB, layer []byte) []byte{
		func(t testing.TB, layer []byte) []byte { return images.Saved(t, layer) },
		func(t testing.TB, layer []byte) []byte { return images.Saved(t, images.Gzip(t, layer)) },
		func(t testing.TB, layer []byte) []byte { return images.Gzip(t, images.Saved(t, layer)) },
		func(t testing.TB, layer []byte) []byte { return ociImage(layer).Tar(t) },
	}
	for n := range forms {
		f.Add(byte(n), "a/.wh.b\nq => p", []byte{})
	}
	k := promised(f, "3.10")
	f.Fuzz(func(t *testing.T, form byte, files string, damage []byte) {
		layer := images.Tar(t, append(images.Lines(files), images.Entry{Name: "p", Body: needy})...)
		b := images.Damaged(forms[int(form)%len(forms)](t, layer), damage)
		_ = checkArchive(bytes.NewReader(b), int64(len(b)), func(c *collector) { c.judge(k, Libc{}) })
	})
}
