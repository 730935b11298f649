package laws

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// What is below third_party is its authors' files, in the version that go.mod has, and the patch:
// what scripts/third-party makes of them is what is there.
func TestThirdPartyIsAsItsAuthorsMadeIt(t *testing.T) {
	fresh := t.TempDir()
	cmd := exec.Command(filepath.Join(top, "scripts", "third-party"), fresh)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	want := contents(t, fresh)
	require.Greater(t, len(want), 40)
	got := contents(t, filepath.Join(top, thirdParty, "zstd"))
	for _, own := range []string{"README.md", "decoder.patch", "go.mod"} {
		require.Contains(t, got, own)
		delete(got, own)
	}
	for name, text := range want {
		require.True(t, got[name] == text, "%s: run scripts/third-party", name)
		delete(got, name)
	}
	require.Empty(t, got, "files that nothing makes")
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
