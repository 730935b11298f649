package sys

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"binproxy/test/lib/need"
)

func TestDraft(t *testing.T) {
	path := filepath.Join(t.TempDir(), "it")
	for _, text := range []string{"first", "second"} {
		draft, err := NewDraft(path)
		require.NoError(t, err)
		assert.Equal(t, filepath.Dir(path), filepath.Dir(draft.Dir))
		require.NoError(t, os.WriteFile(draft.Dir+"/file", []byte(text), 0o644))
		require.NoError(t, draft.Place())
		draft.Close()
		assert.NoDirExists(t, draft.Dir)
		found, err := os.ReadFile(path + "/file")
		require.NoError(t, err)
		assert.Equal(t, text, string(found))
	}
	draft, err := NewDraft(path)
	require.NoError(t, err)
	draft.Close()
	assert.NoDirExists(t, draft.Dir)
	assert.FileExists(t, path+"/file")
}

// TestDraftEnded also runs as a program of its own, which has such a directory and waits.
func TestDraftEnded(t *testing.T) {
	const asked = "TEST_DRAFT"
	if path := os.Getenv(asked); path != "" {
		draft, err := NewDraft(path)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(draft.Dir+"/file", nil, 0o644))
		fmt.Println(draft.Dir)
		select {}
	}
	heeded := slices.DeleteFunc([]unix.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP}, func(s unix.Signal) bool { return signal.Ignored(s) })
	need.Given(t, len(heeded) > 0, "a signal that is not ignored, as in a shell's background job under nohup")
	for _, s := range heeded {
		cmd := exec.Command(os.Args[0], "-test.run=^TestDraftEnded$")
		cmd.Env = append(os.Environ(), asked+"="+filepath.Join(t.TempDir(), "it"))
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		temp, err := bufio.NewReader(out).ReadString('\n')
		require.NoError(t, err)
		temp = strings.TrimSpace(temp)
		require.DirExists(t, temp)
		require.NoError(t, cmd.Process.Signal(s))
		_ = cmd.Wait()
		assert.Equal(t, s, cmd.ProcessState.Sys().(interface{ Signal() unix.Signal }).Signal())
		assert.NoDirExists(t, temp)
	}
}
