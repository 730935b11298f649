package debs

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/apt"
	"binproxy/test/lib/archive"
)

// mirror is an archive with a package, which stands for Debian's here; the cache is empty.
func mirror(t *testing.T) *archive.Archive {
	t.Helper()
	a := archive.New(t)
	a.Add("one", "1", nil)
	a.Index()
	from(t, a.URL)
	return a
}

func from(t *testing.T, url string) {
	t.Helper()
	archive.Configure(t, url)
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	usualRepository, usualPatience := repository, patience
	t.Cleanup(func() { repository, patience = usualRepository, usualPatience })
	repository = func(context.Context) (string, error) { return "[trusted=yes] " + url, nil }
	patience = apt.Patience{Answer: time.Second, Lock: time.Minute, Pauses: []time.Duration{time.Millisecond, time.Millisecond, time.Millisecond}}
}

func version(t *testing.T, dir string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "usr/share/one/version"))
	require.NoError(t, err)
	return string(text)
}

// A package comes as a file and unpacked, for any architecture, once.
func TestFile(t *testing.T) {
	a := mirror(t)
	for _, arch := range []string{"amd64", "arm64"} {
		dir, file := UnpackedFor(t, archive.Suite, arch, "one"), File(t, archive.Suite, arch, "one")
		assert.Equal(t, "1\n", version(t, dir))
		out, err := exec.Command("dpkg-deb", "-f", file, "Package").Output()
		require.NoError(t, err)
		assert.Equal(t, "one\n", string(out))
	}
	assert.Equal(t, 2, a.Asked("/one_1_all.deb"))
}

// A mirror that is busy or cuts a file is asked again, for an index and for a package.
func TestHiccup(t *testing.T) {
	for name, how := range map[string]func(*archive.Archive){
		"busy":            func(a *archive.Archive) { a.Fail("/one_1_all.deb", 2, archive.Busy) },
		"cut":             func(a *archive.Archive) { a.Fail("/one_1_all.deb", 2, a.Cut) },
		"busy, the index": func(a *archive.Archive) { a.Fail("/Release", 1, archive.Busy) },
		"cut, the index":  func(a *archive.Archive) { a.Fail("/Packages", 1, a.Cut) },
	} {
		t.Run(name, func(t *testing.T) {
			how(mirror(t))
			assert.Equal(t, "1\n", version(t, Unpacked(t, archive.Suite, "one")))
		})
	}
}

// The lists in the cache name a version that the mirror has replaced.
func TestSuperseded(t *testing.T) {
	a := mirror(t)
	Unpacked(t, archive.Suite, "one")
	a.Remove("one", "1")
	a.Add("one", "2", nil)
	a.Index()
	files, err := Of(archive.Suite, "amd64", "one").Download(t.Context(), t.TempDir(), nil)
	require.NoError(t, err)
	require.Len(t, files, 1)
	assert.Equal(t, "one_2_all.deb", filepath.Base(files[0]))
}

// The upstream source of a package comes unpacked.
func TestSource(t *testing.T) {
	a := mirror(t)
	tree := filepath.Join(t.TempDir(), "one-1")
	require.NoError(t, os.Mkdir(tree, 0o755))
	require.NoError(t, os.WriteFile(tree+"/one.c", []byte("int one;\n"), 0o644))
	a.AddSource(tree, "one", "1")
	a.Index()
	text, err := os.ReadFile(Source(t, archive.Suite, "one") + "/one.c")
	require.NoError(t, err)
	assert.Equal(t, "int one;\n", string(text))
}

// A failure is an error of one line, and leaves nothing in the cache.
func TestFailures(t *testing.T) {
	download := func(t *testing.T) error {
		t.Helper()
		path, err := unpacked(archive.Suite, "amd64", "one").Get(t.Context())
		left, _ := filepath.Glob(filepath.Dir(path) + "/*")
		for _, name := range left {
			assert.Equal(t, ".lock", filepath.Ext(name))
		}
		return err
	}
	t.Run("no such package", func(t *testing.T) {
		a := mirror(t)
		a.Remove("one", "1")
		a.Index()
		assert.EqualError(t, download(t), "one: no such package")
	})
	t.Run("gone", func(t *testing.T) {
		a := mirror(t)
		a.Remove("one", "1")
		assert.EqualError(t, download(t), "apt-get download: "+a.URL+"/pool/one_1_all.deb: 404  Not Found")
	})
	for name, url := range map[string]func(testing.TB) string{"nobody listens": archive.Nobody, "nobody answers": archive.Silent} {
		t.Run(name, func(t *testing.T) {
			url := url(t)
			from(t, url)
			err := download(t)
			require.ErrorContains(t, err, "apt-get update: "+url+"/dists/"+archive.Suite+"/InRelease: ")
			assert.NotContains(t, err.Error(), "\n")
		})
	}
}
