package farm

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/sys"
	"binproxy/test/lib/snapshot"
)

// TestRenew: whatever replaces a link in place, the newer file is routed, and clean keeps it. What
// was removed, or cannot be routed, stays as it is.
func TestRenew(t *testing.T) {
	root, cfg, _ := installed(t)
	shell, bin := at(root).Shell, root+"/usr/bin/"
	require.NoError(t, Renew(cfg, shell))
	relink := func(to, name string) {
		require.NoError(t, os.Remove(bin+name))
		require.NoError(t, os.Symlink(to, bin+name))
	}
	relink("perl", "sh")
	replace(t, bin+"date", guest("newer"))
	write(t, bin+"other", guest("other"))
	relink("other", "with space") // an alternative: what it leads to is put in place
	require.NoError(t, os.Remove(bin+"mawk"))
	replace(t, bin+"su", elfFile(emX8664, "native"))
	require.NoError(t, os.Rename(bin+oddName, bin+oddName+".distrib"))
	write(t, bin+oddName, guest("local"))

	require.NoError(t, Renew(cfg, shell))
	for name, text := range map[string]string{
		"sh": guest("perl"), "date": guest("newer"), "with space": guest("other"), oddName: guest("local"), oddName + ".distrib": guest("odd"),
	} {
		real, errno := (Root{cfg.Self(), cfg.AllFarms()}).Real(bin + name)
		require.Zero(t, errno, name)
		got, err := os.ReadFile(real)
		require.NoError(t, err)
		assert.Equal(t, text, string(got), name)
	}
	for _, name := range []string{"sh", "date", "other", oddName, "perl"} {
		assert.True(t, leadsTo(bin+name, cfg.Self()), name)
	}
	assert.False(t, exists(bin+"mawk"))
	assert.False(t, leadsTo(bin+"su", cfg.Self()))
	before := snapshot.Of(t, root)
	require.NoError(t, Renew(cfg, shell))
	snapshot.Same(t, before, snapshot.Of(t, root))

	cleaned, err := Clean(reload(t, cfg))
	require.NoError(t, err)
	assert.Empty(t, cleaned.Remarks)
	assert.Empty(t, asides(t, root))
	for name, want := range map[string]string{"sh": "perl", "with space": "other"} {
		text, err := os.Readlink(bin + name)
		require.NoError(t, err)
		assert.Equal(t, want, text)
	}
	text, err := os.ReadFile(bin + "date")
	require.NoError(t, err)
	assert.Equal(t, guest("newer"), string(text))
}

// TestRenewWaits: somebody else changes the image. Where nothing was replaced, nobody waits.
func TestRenewWaits(t *testing.T) {
	root, cfg, _ := installed(t)
	lock, err := sys.Lock(t.Context(), cfg.Dir)
	require.NoError(t, err)
	defer lock.Close()
	defer func(before time.Duration) { renewal = before }(renewal)
	renewal = time.Millisecond
	require.NoError(t, Renew(cfg, at(root).Shell))
	replace(t, filepath.Join(root, "usr/bin/date"), guest("newer"))
	require.ErrorIs(t, Renew(cfg, at(root).Shell), context.DeadlineExceeded)
	lock.Close()
	renewal = time.Minute
	require.NoError(t, Renew(cfg, at(root).Shell))
}

// TestShells: shells get a link in their place like named files, except for /bin/sh, which is
// replaced itself, and those that are no guests.
func TestShells(t *testing.T) {
	root := freshTree(t)
	before := snapshotOf(t, root)
	cfg := bundle(t, root)
	opts := at(root)
	opts.Paths = nil
	opts.Shells = []string{root + "/bin/sh", root + "/usr/bin/sh", root + "/bin/dash", root + "/bin/awk", root + "/bin/native", root + "/bin/none", root + "/none/sh"}
	done, err := Install(cfg, opts)
	require.NoError(t, err)
	assert.Empty(t, done.Remarks)
	assert.Equal(t, 3, done.Placed)
	for _, name := range []string{"sh", "dash", "mawk"} {
		assert.True(t, leadsTo(root+"/usr/bin/"+name, cfg.Self()), name)
	}
	nothingLost(t, cfg, root)
	_, err = Clean(reload(t, cfg))
	require.NoError(t, err)
	snapshot.Same(t, before, snapshotOf(t, root))
}
