package release

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/test/lib/built"
	"binproxy/test/lib/need"
)

// setup runs the action's script as a runner does, with a release from the loopback.
func setup(t *testing.T, dir, plugs string) (paths, said string, err error) {
	t.Helper()
	need.Program(t, "curl", "curl")
	server := httptest.NewServer(http.StripPrefix("/"+tag, http.FileServer(http.Dir(dir))))
	defer server.Close()
	root, err := built.Root()
	require.NoError(t, err)
	temp := t.TempDir()
	cmd := exec.CommandContext(t.Context(), filepath.Join(root, ".github/actions/setup/setup.sh"))
	cmd.Env = append(os.Environ(), "BINPROXY_URL="+server.URL, "BINPROXY_VERSION="+tag, "BINPROXY_PLUGS="+plugs, "BINPROXY_BUILDER=",
		"RUNNER_TEMP="+temp, "GITHUB_PATH="+temp+"/path")
	out, err := cmd.CombinedOutput()
	text, _ := os.ReadFile(temp + "/path")
	return strings.TrimSpace(string(text)), string(out), err
}

// After the action, binproxy is in PATH, and a builder that looks for plugs in that directory
// builds for another architecture. A file of another program stays.
func TestSetupAction(t *testing.T) {
	plugs := t.TempDir()
	other := filepath.Join(plugs, "buildkit-qemu-aarch64")
	require.NoError(t, os.WriteFile(other, []byte("another's\n"), 0o755))
	_, said, err := setup(t, dist(t), plugs)
	require.NoError(t, err, said)
	assert.Contains(t, said, "is another program's")
	text, err := os.ReadFile(other)
	require.NoError(t, err)
	assert.Equal(t, "another's\n", string(text))

	require.NoError(t, os.Remove(other))
	for range 2 { // the second time over its own
		path, said, err := setup(t, dist(t), plugs)
		require.NoError(t, err, said)
		assert.NotContains(t, said, "another program's")
		assert.Contains(t, do(t, plugs, filepath.Join(path, "binproxy"), "version"), tag)
	}
	assert.Contains(t, newBuilder(t, plugs).build("FROM BASE\nRUN uname -m\n", plain), " aarch64\n")
}

// A file that is not the release's ends the action before anything is unpacked from it.
func TestSetupActionChecksSums(t *testing.T) {
	broken, plugs := t.TempDir(), t.TempDir()
	require.NoError(t, os.CopyFS(broken, os.DirFS(dist(t))))
	name := filepath.Join(broken, filepath.Base(file(t, "-buildkit.tar.gz")))
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	text[len(text)-1] ^= 1
	require.NoError(t, os.WriteFile(name, text, 0o644))
	_, said, err := setup(t, broken, plugs)
	require.Error(t, err)
	assert.Contains(t, said, "FAILED")
	entries, err := os.ReadDir(plugs)
	require.NoError(t, err)
	assert.Empty(t, entries)
}
