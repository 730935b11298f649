package check

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
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"binproxy/test/need"
)

// entry is one entry of an archive: a directory where the name ends in "/", a hard link where link is set.
type entry struct {
	name, link string
	body       []byte
}

func archive(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Mode: 0o755, Size: int64(len(e.body)), Typeflag: tar.TypeReg}
		switch {
		case e.link != "":
			h.Typeflag, h.Linkname = tar.TypeLink, e.link
		case strings.HasSuffix(e.name, "/"):
			h.Typeflag = tar.TypeDir
		}
		require.NoError(t, w.WriteHeader(h))
		_, err := w.Write(e.body)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

func gz(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write(b)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return out.Bytes()
}

// saved is an archive as docker save writes it, of layers from the lowest up.
func saved(t testing.TB, layers ...[]byte) []byte {
	t.Helper()
	var entries []entry
	var names []string
	for i, l := range layers {
		names = append(names, fmt.Sprintf("l%d/layer.tar", i))
		entries = append(entries, entry{name: names[i], body: l})
	}
	manifest := fmt.Sprintf(`[{"Config":"c.json","RepoTags":["a:b"],"Layers":["%s"]}]`, strings.Join(names, `","`))
	return archive(t, append(entries, entry{name: "manifest.json", body: []byte(manifest)})...)
}

// check runs on a file with the bytes, and gives the files of the findings against 3.10.
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

// What a layer has hides what lies below: by its name, by a whiteout, by an opaque directory, by a file in a directory's place.
func TestLayers(t *testing.T) {
	for name, c := range map[string]struct {
		layers [][]entry // from the lowest up
		want   []string
	}{
		"one":                   {[][]entry{{{name: "bin/p", body: needy}}}, []string{"/bin/p"}},
		"with ./":               {[][]entry{{{name: "./bin/p", body: needy}}}, []string{"/bin/p"}},
		"replaced":              {[][]entry{{{name: "bin/p", body: needy}}, {{name: "bin/p", body: tame}}}, []string{}},
		"replaced by a needy":   {[][]entry{{{name: "bin/p", body: tame}}, {{name: "bin/p", body: needy}}}, []string{"/bin/p"}},
		"whiteout":              {[][]entry{{{name: "bin/p", body: needy}}, {{name: "bin/.wh.p"}}}, []string{}},
		"whiteout of directory": {[][]entry{{{name: "a/bin/p", body: needy}}, {{name: "a/.wh.bin"}}}, []string{}},
		"whiteout, then again":  {[][]entry{{{name: "bin/p", body: tame}}, {{name: "bin/.wh.p"}}, {{name: "bin/p", body: needy}}}, []string{"/bin/p"}},
		"whiteout and itself":   {[][]entry{{{name: "bin/p", body: tame}}, {{name: "bin/.wh.p"}, {name: "bin/p", body: needy}}}, []string{"/bin/p"}},
		"opaque":                {[][]entry{{{name: "d/p", body: needy}, {name: "e/p", body: needy}}, {{name: "d/.wh..wh..opq"}, {name: "d/q", body: needy}}}, []string{"/d/q", "/e/p"}},
		"file for a directory":  {[][]entry{{{name: "d/p", body: needy}}, {{name: "d", body: tame}}}, []string{}},
		"directory stays":       {[][]entry{{{name: "d/p", body: needy}}, {{name: "d/"}}}, []string{"/d/p"}},
		"hard link":             {[][]entry{{{name: "p", body: needy}, {name: "q", link: "p"}}}, []string{"/p"}},
		"the running system's":  {[][]entry{{{name: "proc/p", body: needy}, {name: "dev/p", body: needy}}}, []string{}},
	} {
		var layers [][]byte
		for i, l := range c.layers {
			b := archive(t, l...)
			if i%2 == 1 {
				b = gz(t, b)
			}
			layers = append(layers, b)
		}
		for _, image := range [][]byte{saved(t, layers...), gz(t, saved(t, layers...))} {
			got, err := checkBytes(t, image)
			require.NoError(t, err, name)
			require.Equal(t, c.want, got, name)
		}
	}
}

// store is the blobs of a layout, by their paths.
type store map[string]string

// add gives the digest of a blob.
func (s store) add(blob string) string {
	sum := fmt.Sprintf("%x", sha256.Sum256([]byte(blob)))
	s["blobs/sha256/"+sum] = blob
	return "sha256:" + sum
}

// ociImage is a layout of one image with a nested index and an attestation, which is no image.
func ociImage(layer []byte) store {
	s := store{"oci-layout": `{"imageLayoutVersion":"1.0.0"}`}
	manifest := s.add(`{"layers":[{"digest":"` + s.add(string(layer)) + `"}]}`)
	index := s.add(`{"manifests":[{"digest":"` + manifest + `","platform":{"os":"linux"}},{"digest":"sha256:` + strings.Repeat("9", 64) + `","platform":{"os":"unknown"}}]}`)
	s["index.json"] = `{"manifests":[{"digest":"` + index + `"}]}`
	return s
}

func (s store) directory(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range s {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o777))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o666))
	}
	return dir
}

func (s store) archive(t testing.TB) []byte {
	t.Helper()
	var entries []entry
	for name, text := range s {
		entries = append(entries, entry{name: name, body: []byte(text)})
	}
	return archive(t, entries...)
}

func TestOCILayout(t *testing.T) {
	layer := archive(t, entry{name: "p", body: needy})
	for name, packed := range map[string][]byte{"plain": layer, "gzip": gz(t, layer), "zstd": zst(t, layer)} {
		image := ociImage(packed)
		got, err := checkFiles(t, image.directory(t))
		require.NoError(t, err, name)
		require.Equal(t, []string{"/p"}, got, name)
		for _, whole := range [][]byte{image.archive(t), gz(t, image.archive(t)), zst(t, image.archive(t))} {
			got, err = checkBytes(t, whole)
			require.NoError(t, err, name)
			require.Equal(t, []string{"/p"}, got, name)
		}
	}
}

// zst is what zstd(1) makes of bytes.
func zst(t testing.TB, b []byte) []byte {
	t.Helper()
	cmd := exec.Command(need.Program(t, "zstd", "zstd"), "-c", "-q")
	cmd.Stdin = bytes.NewReader(b)
	out, err := cmd.Output()
	require.NoError(t, err)
	return out
}

// A blob that is not what its name says is an error, whatever it holds: each of an image's, with a byte more or other.
func TestDigests(t *testing.T) {
	good := ociImage(gz(t, archive(t, entry{name: "p", body: needy})))
	for name, blob := range good {
		if !strings.HasPrefix(name, "blobs/") {
			continue
		}
		for _, other := range []string{blob + " ", "x" + blob[1:], blob[:len(blob)-1]} {
			bad := maps.Clone(good)
			bad[name] = other
			_, err := checkFiles(t, bad.directory(t))
			require.ErrorContains(t, err, name+": its digest is ")
		}
	}
	sum := fmt.Sprintf("%x", sha512.Sum512([]byte(`{"layers":[]}`)))
	long := store{"oci-layout": "{}", "index.json": `{"manifests":[{"digest":"sha512:` + sum + `"}]}`, "blobs/sha512/" + sum: `{"layers":[]}`}
	_, err := checkFiles(t, long.directory(t))
	require.NoError(t, err)
	// An archive of docker save names its layers by digests too, since it is a layout as well.
	saved := store{}
	layer := strings.Replace(saved.add(string(archive(t, entry{name: "p", body: needy}))), "sha256:", "blobs/sha256/", 1)
	saved["manifest.json"] = `[{"Layers":["` + layer + `"]}]`
	got, err := checkBytes(t, saved.archive(t))
	require.NoError(t, err)
	require.Equal(t, []string{"/p"}, got)
	saved[layer] += "x"
	_, err = checkBytes(t, saved.archive(t))
	require.ErrorContains(t, err, "its digest is ")
}

// A root directory is read as it lies there, without following links.
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

func TestHostileImages(t *testing.T) {
	layer := archive(t, entry{name: "p", body: needy})
	for want, image := range map[string][]byte{
		`"../p" leads out`:                       saved(t, archive(t, entry{name: "../p", body: needy})),
		`"../../etc/passwd" leads out`:           saved(t, archive(t, entry{name: "q", link: "../../etc/passwd"})),
		`"x/../../l" leads out`:                  archive(t, entry{name: "x/../../l", body: layer}),
		"layer missing.tar":                      archive(t, entry{name: "manifest.json", body: []byte(`[{"Layers":["missing.tar"]}]`)}),
		"layer ../../etc/passwd":                 archive(t, entry{name: "manifest.json", body: []byte(`[{"Layers":["../../etc/passwd"]}]`)}),
		"zstd: damaged: ":                        saved(t, []byte("\x28\xb5\x2f\xfd0000000000")),
		"compressed with xz":                     saved(t, []byte("\xfd7zXZ\x00000000000000")),
		"damaged archive":                        saved(t, layer[:700]),
		"damaged archive: unexpected EOF":        saved(t, layer)[:1000],
		"manifest.json: ":                        archive(t, entry{name: "manifest.json", body: []byte(`{`)}),
		"the most that is read is 4194304":       archive(t, entry{name: "manifest.json", body: make([]byte, 5<<20)}),
		"neither index.json":                     archive(t, entry{name: "x", body: []byte("x")}),
		"it holds no image":                      archive(t, entry{name: "manifest.json", body: []byte(`[]`)}),
		`digest "sha256:../../x" is none`:        archive(t, entry{name: "index.json", body: []byte(`{"manifests":[{"digest":"sha256:../../x"}]}`)}),
		"nested 4 deep":                          nested(5).archive(t),
		`digest "md5:` + strings.Repeat("0", 32): archive(t, entry{name: "index.json", body: []byte(`{"manifests":[{"digest":"md5:` + strings.Repeat("0", 32) + `"}]}`)}),
		"neither an ELF file, nor a directory":   []byte("hello"),
		"gzip: ":                                 []byte("\x1f\x8b000000000000"),
	} {
		_, err := checkBytes(t, image)
		require.ErrorContains(t, err, want)
	}
	_, err := checkFiles(t, "/nonexistent")
	require.EqualError(t, err, "/nonexistent: no such file or directory")
}

// nested is an index in an index in an index.
func nested(depth int) store {
	s := store{}
	text := `{"layers":[]}`
	for range depth {
		text = `{"manifests":[{"digest":"` + s.add(text) + `"}]}`
	}
	s["index.json"] = text
	return s
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
	layer := archive(f, entry{name: "p", body: needy}, entry{name: "a/.wh.b"}, entry{name: "q", link: "p"})
	f.Add(saved(f, layer))
	f.Add(saved(f, gz(f, layer)))
	f.Add(gz(f, saved(f, layer)))
	f.Add(ociImage(layer).archive(f))
	k := promised(f, "3.10")
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = checkArchive(bytes.NewReader(b), int64(len(b)), func(c *collector) { c.judge(k, Libc{}) })
	})
}
