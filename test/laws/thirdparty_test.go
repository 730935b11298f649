package laws

import (
	gomd5 "crypto/md5"
	gosha1 "crypto/sha1"
	gosha256 "crypto/sha256"
	gosha512 "crypto/sha512"
	"hash"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"binproxy/third_party/hash/md5"
	"binproxy/third_party/hash/sha1"
	"binproxy/third_party/hash/sha256"
	"binproxy/third_party/hash/sha512"
)

// What is below third_party is its authors' files, in the versions that scripts/third-party has,
// and the patches: what the script makes of them is what is there.
func TestThirdPartyIsAsItsAuthorsMadeIt(t *testing.T) {
	fresh := t.TempDir()
	cmd := exec.Command(filepath.Join(top, "scripts", "third-party"), fresh)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	want := contents(t, fresh)
	require.Greater(t, len(want), 70)
	got := contents(t, filepath.Join(top, thirdParty))
	for _, own := range []string{
		"hash/README.md", "hash/hash.patch", "hash/go.mod",
		"hash/internal/cpu/features_amd64.go", "hash/internal/cpu/features_arm64.go",
		"zstd/README.md", "zstd/decoder.patch", "zstd/go.mod",
	} {
		require.Contains(t, got, own)
		delete(got, own)
	}
	for name, text := range want {
		require.True(t, got[name] == text, "%s: run scripts/third-party", name)
		delete(got, name)
	}
	require.Empty(t, got, "files that nothing makes")
}

// The copies of the hashes and Go's own come to the same sums, whatever lengths are written.
func TestHashesAreGos(t *testing.T) {
	text := make([]byte, 200_000)
	for i := range text {
		text[i] = byte(i * i >> 3)
	}
	for name, makers := range map[string]struct{ ours, gos func() hash.Hash }{
		"md5":    {md5.New, gomd5.New},
		"sha1":   {sha1.New, gosha1.New},
		"sha256": {sha256.New, gosha256.New},
		"sha512": {sha512.New, gosha512.New},
	} {
		ours, gos := makers.ours(), makers.gos()
		for from, size := 0, 0; from+size <= len(text); from, size = from+size, size+1 {
			ours.Write(text[from : from+size])
			gos.Write(text[from : from+size])
			require.Equal(t, gos.Sum(nil), ours.Sum(nil), "%s of %d bytes", name, from+size)
		}
		ours.Reset()
		gos.Reset()
		ours.Write(text)
		gos.Write(text)
		require.Equal(t, gos.Sum(nil), ours.Sum(nil), "%s at once", name)
	}
}

// contents are the files below a directory, by their names from there.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	tree := os.DirFS(dir)
	require.NoError(t, fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(tree, name)
		files[name] = string(text)
		return err
	}))
	return files
}
