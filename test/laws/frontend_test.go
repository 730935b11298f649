package laws

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/test/lib/need"
)

// The frontend is a module of its own: it imports nothing of the program's, and what it weighs is
// not among what the program is made of.
func TestFrontendIsApart(t *testing.T) {
	found := 0
	for _, f := range goFiles(t) {
		inside := within(path.Dir(f.name), "frontend")
		for _, spec := range f.syntax.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			require.NoError(t, err)
			if !inside {
				assert.False(t, any("frontend")(imported), "%s imports %s", f.name, imported)
				continue
			}
			found++
			assert.False(t, room(imported) != "" && !any("frontend")(imported), "%s imports %s", f.name, imported)
		}
	}
	assert.Positive(t, found)
	text, err := os.ReadFile(filepath.Join(top, "go.mod"))
	require.NoError(t, err)
	assert.NotContains(t, string(text), "moby/buildkit")
}

// The frontend's own tests, which `go test ./...` does not reach.
func TestFrontendModule(t *testing.T) {
	need.Long(t)
	for _, args := range [][]string{{"mod", "download"}, {"test", "./..."}} {
		cmd := exec.Command("go", args...)
		cmd.Dir = filepath.Join(top, "frontend")
		out, err := cmd.CombinedOutput()
		if args[0] == "mod" {
			need.Installed(t, err == nil, "the Go modules of frontend/")
		}
		require.NoError(t, err, "%s", out)
	}
}
