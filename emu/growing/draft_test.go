package growing

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
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
		temp := beside(t, path)
		require.NoError(t, os.WriteFile(draft.Dir+"/file", []byte(text), 0o644))
		require.NoError(t, draft.Place())
		draft.Close()
		assert.NoDirExists(t, temp)
		found, err := os.ReadFile(path + "/file")
		require.NoError(t, err)
		assert.Equal(t, text, string(found))
	}
	draft, err := NewDraft(path)
	require.NoError(t, err)
	temp := beside(t, path)
	draft.Close()
	assert.NoDirExists(t, temp)
	assert.FileExists(t, path+"/file")
}

// beside is the draft's own directory, by its name for other processes.
func beside(t *testing.T, path string) string {
	found, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".it.*"))
	require.NoError(t, err)
	require.Len(t, found, 1)
	return found[0]
}

// A root without /proc, as a chroot may be, has no paths of descriptors.
func TestWithoutProc(t *testing.T) {
	need.Root(t)
	dir := t.TempDir()
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread has a root of its own, and ends with this
		made <- func() error {
			if err := errors.Join(unix.Unshare(unix.CLONE_FS), unix.Chroot(dir), unix.Chdir("/")); err != nil {
				return err
			}
			draft, err := NewDraft("/it")
			if err != nil {
				return err
			}
			defer draft.Close()
			return errors.Join(os.WriteFile(draft.Dir+"/file", nil, 0o644), draft.Place())
		}()
	}()
	require.NoError(t, <-made)
	assert.FileExists(t, dir+"/it/file")
}

// TestLedElsewhere: somebody replaces the names that lead to a draft with links to another place.
// Everything after that is still written, placed and removed where the draft began, and nothing in
// the other place.
func TestLedElsewhere(t *testing.T) {
	top := t.TempDir()
	parent, moved, elsewhere := top+"/parent", top+"/moved", top+"/elsewhere"
	for _, dir := range []string{parent, elsewhere} {
		require.NoError(t, os.Mkdir(dir, 0o755))
	}
	draft, err := NewDraft(parent + "/it")
	require.NoError(t, err)
	name := filepath.Base(beside(t, parent+"/it"))
	require.NoError(t, os.WriteFile(elsewhere+"/precious", nil, 0o644))
	require.NoError(t, os.Rename(parent, moved))
	require.NoError(t, os.Symlink(elsewhere, parent))
	require.NoError(t, os.WriteFile(draft.Dir+"/one", nil, 0o644))
	require.NoError(t, draft.Put("one"))
	assert.FileExists(t, draft.Beside("one"))
	assert.FileExists(t, moved+"/one")

	require.NoError(t, os.Rename(moved+"/"+name, moved+"/own"))
	require.NoError(t, os.Symlink(elsewhere, moved+"/"+name))
	require.NoError(t, os.WriteFile(draft.Dir+"/two", nil, 0o644))
	assert.FileExists(t, moved+"/own/two")
	draft.Close()
	assert.NoFileExists(t, moved+"/own/two")
	entries, err := os.ReadDir(elsewhere)
	require.NoError(t, err)
	require.Len(t, entries, 1)
	assert.Equal(t, "precious", entries[0].Name())
}

// TestExchangedWhenMade: when the name is opened, it may mean another user's directory, or one
// that is not empty.
func TestExchangedWhenMade(t *testing.T) {
	at := t.TempDir() + "/it"
	full := func(in *os.File, name string) (string, error) { return name, os.MkdirAll(at+"/precious", 0o755) }
	_, err := start(at, full)
	require.ErrorContains(t, err, "somebody put another directory there")
	link := func(in *os.File, name string) (string, error) {
		return "link", os.Symlink("it", filepath.Dir(at)+"/link")
	}
	_, err = start(at, link)
	require.ErrorIs(t, err, unix.ENOTDIR)
	need.Root(t)
	others := func(in *os.File, name string) (string, error) { return name, os.Chown(at, 65534, 65534) }
	require.NoError(t, os.Remove(at+"/precious"))
	_, err = start(at, others)
	require.ErrorContains(t, err, "it is a directory of user 65534's")
}

// TestDraftEnded also runs as a program of its own, which makes such a directory and waits.
func TestDraftEnded(t *testing.T) {
	const asked = "TEST_DRAFT"
	if path := os.Getenv(asked); path != "" {
		draft, err := NewDraft(path)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(draft.Dir+"/file", nil, 0o644))
		fmt.Println(beside(t, path))
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
