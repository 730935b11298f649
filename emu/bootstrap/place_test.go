package bootstrap

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
	"binproxy/emu/growing"
	"binproxy/emu/sys"
	"binproxy/test/lib/need"
	"binproxy/test/lib/snapshot"
)

// imageJob makes a root called root in dir from an archive of those entries.
func imageJob(t *testing.T, dir string, entries ...string) job {
	image := filepath.Join(t.TempDir(), "image")
	require.NoError(t, os.WriteFile(image, archive(t, entries...), 0o644))
	return job{ABI: "aarch64", Options: Options{ABI: arch.Get("aarch64"), Dir: filepath.Join(dir, "root"), From: "tar:" + image}}
}

// TestExchangedWhileMade: a user who can write beside the root replaces the growing directory with
// a link to another place, again and again. Nothing is ever written there, and roots are made all
// the same.
func TestExchangedWhileMade(t *testing.T) {
	elsewhere := t.TempDir()
	require.NoError(t, os.WriteFile(elsewhere+"/bin", []byte("precious"), 0o600))
	before := snapshot.Of(t, elsewhere)
	exchanged, made := 0, 0
	for range 25 {
		dir := t.TempDir()
		j := imageJob(t, dir, "bin", "etc/", "etc/a", "etc/b", "etc/c")
		link := filepath.Join(dir, "link")
		require.NoError(t, os.Symlink(elsewhere, link))
		end, ended := make(chan struct{}), make(chan int)
		go func() {
			for n := 0; ; {
				select {
				case <-end:
					ended <- n
					return
				default:
				}
				if sys.Exchange(j.partial(), link) == nil {
					n++
				}
			}
		}()
		if j.make() == nil {
			made++
			assert.Equal(t, []string{"bin", "etc", "etc/a", "etc/b", "etc/c"}, listing(t, j.Dir))
		}
		close(end)
		exchanged += <-ended
		snapshot.Same(t, before, snapshot.Of(t, elsewhere))
	}
	assert.Positive(t, exchanged)
	assert.Positive(t, made)
}

// tree is a directory with a directory in it, and a file of that name.
func tree(t *testing.T, name string) string {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(dir+"/root/etc", 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o644))
	return dir
}

// TestRemoveLeft removes what bootstraps leave, and nothing else.
func TestRemoveLeft(t *testing.T) {
	for name, c := range map[string]struct {
		left func(path string) error
		says string
	}{
		"nothing":             {func(string) error { return nil }, ""},
		"an empty directory":  {func(path string) error { return os.Mkdir(path, 0o755) }, ""},
		"a root, half made":   {func(path string) error { return os.CopyFS(path, os.DirFS(tree(t, markName))) }, ""},
		"another's directory": {func(path string) error { return os.CopyFS(path, os.DirFS(tree(t, "precious"))) }, "is nothing that a bootstrap left"},
		"a link":              {func(path string) error { return os.Symlink(tree(t, markName), path) }, "not a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			j := imageJob(t, dir, "bin")
			require.NoError(t, c.left(j.partial()))
			before := snapshot.Of(t, dir)
			err := j.removeLeft()
			if c.says == "" {
				require.NoError(t, err)
				assert.Empty(t, namesIn(t, dir))
				return
			}
			require.ErrorContains(t, err, c.says)
			snapshot.Same(t, before, snapshot.Of(t, dir))
		})
	}
}

// TestOthersDirectory: what another user put in place of an earlier run's remains is not removed.
func TestOthersDirectory(t *testing.T) {
	need.Root(t)
	j := imageJob(t, t.TempDir(), "bin")
	require.NoError(t, os.CopyFS(j.partial(), os.DirFS(tree(t, markName))))
	require.NoError(t, os.Chown(j.partial(), 65534, 65534))
	require.ErrorContains(t, j.removeLeft(), "it is a directory of user 65534's")
	assert.FileExists(t, filepath.Join(j.partial(), markName))
}

// TestSettle corrects what is in the root, and nothing outside that links of the root lead to.
func TestSettle(t *testing.T) {
	elsewhere := t.TempDir()
	require.NoError(t, os.WriteFile(elsewhere+"/null", nil, 0o644))
	for _, dev := range []string{"dev/null", "dev -> " + elsewhere} {
		partial := t.TempDir()
		root := filepath.Join(partial, rootName)
		require.NoError(t, os.Mkdir(root, 0o755))
		require.NoError(t, unpackLayers(root, layersOf(t, archive(t, dev, "proc -> /proc")), io.Discard))
		require.NoError(t, settle(partial))
		assert.DirExists(t, root+"/proc")
		if dev == "dev/null" {
			assert.NoFileExists(t, root+"/dev/null")
		}
	}
	assert.FileExists(t, elsewhere+"/null")
}

// TestShelter: the bootstrapper's path leads to the growing directory, whatever its name leads to.
func TestShelter(t *testing.T) {
	need.Root(t)
	const inside = "BOOTSTRAP_TEST_IN_NAMESPACE"
	if os.Getenv(inside) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestShelter$", "-test.v")
		cmd.Env = append(os.Environ(), inside+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Contains(t, string(out), "--- PASS")
		return
	}
	require.NoError(t, sys.MakePrivate("/"))
	j := imageJob(t, t.TempDir(), "bin")
	g, err := growing.Make(j.partial())
	require.NoError(t, err)
	path, err := j.shelter(g.Path())
	require.NoError(t, err)
	need.Given(t, path != j.partial(), "an empty directory to mount over")
	elsewhere := t.TempDir()
	require.NoError(t, os.Rename(j.partial(), j.partial()+".moved"))
	require.NoError(t, os.Symlink(elsewhere, j.partial()))
	cmd := exec.Command("touch", path+"/file")
	require.NoError(t, cmd.Run())
	assert.Empty(t, namesIn(t, elsewhere))
	assert.Equal(t, []string{"file"}, namesIn(t, j.partial()+".moved"))
	require.NoError(t, sys.Detach(path))
}
