package containers

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/test/lab"
)

// What `ADD FILE /bin/sh` does where /bin is a link to usr/bin and sh one to dash. Docker's two builders follow the directory's link and
// replace the last one; this is recorded here because docs/farm.md says it, and nothing of binproxy depends on it.
func TestAddBinSh(t *testing.T) {
	lab.Builders(t, func(t *testing.T, b lab.Builder) {
		context := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(context, "wrapper"), []byte("wrapper\n"), 0o755))
		base := b.Base(t, guests[0])
		before := b.Tree(t, base)
		built := lab.MustBuild(t, b, lab.Build{Context: context, Dockerfile: "ARG BASE\nFROM --platform=" + platform(t, guests[0]) + " $BASE\nADD wrapper /bin/sh\n",
			Args: map[string]string{"BASE": base}})
		diff := before.Diff(b.Tree(t, built.Image))
		t.Log(strings.Join(diff, "\n"))
		assert.Equal(t, "", "x")
	})
}
