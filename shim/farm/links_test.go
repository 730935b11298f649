package farm

import (
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/growing"
	"binproxy/test/lib/snapshot"
)

// TestFailedInstallGivesLinksBack: a failed install restores a link that it had removed.
func TestFailedInstallGivesLinksBack(t *testing.T) {
	saved := exchange
	exchange = func(_ *growing.Names, a, b string) error { return syscall.EIO }
	defer func() { exchange = saved }()
	root := overriddenTree(t)
	before := snapshotOf(t, root)
	cfg := bundle(t, root)
	_, err := Install(cfg, at(root))
	require.ErrorIs(t, err, syscall.EIO)
	assert.False(t, exists(cfg.Dir+"/"+JournalName))
	snapshot.Same(t, before, snapshotOf(t, root))
}

// TestOverriddenAgain: the last link that somebody has put into the farm counts, whether an
// install came after it or not.
func TestOverriddenAgain(t *testing.T) {
	for name, installs := range map[string]bool{"taken in": true, "left": false} {
		t.Run(name, func(t *testing.T) {
			root := overriddenTree(t)
			cfg := bundle(t, root)
			_, err := Install(cfg, at(root))
			require.NoError(t, err)
			link := root + "/" + ownFarm + root + "/usr/bin/date"
			require.True(t, leadsTo(link, cfg.Self()))
			require.NoError(t, os.Remove(link))
			require.NoError(t, os.Symlink("/newer", link))
			dropped := link + ": was replaced since: the link that it replaced is dropped"
			if installs {
				done, err := Install(reload(t, cfg), at(root))
				require.NoError(t, err)
				assert.Contains(t, done.Remarks, dropped)
				assert.True(t, leadsTo(link, cfg.Self()))
			}
			cleaned, err := Clean(reload(t, cfg))
			require.NoError(t, err)
			if !installs {
				assert.Contains(t, cleaned.Remarks, dropped)
			}
			assert.True(t, leadsTo(link, "/newer"))
			assert.Empty(t, asides(t, root))
		})
	}
}

// TestNoRoomForAKeptLink: a link that cannot be kept is not replaced.
func TestNoRoomForAKeptLink(t *testing.T) {
	root := overriddenTree(t)
	link := root + "/" + ownFarm + root + "/usr/bin/date"
	write(t, Aside(link), "somebody's")
	before := snapshotOf(t, root)
	cfg := bundle(t, root)
	done, err := Install(cfg, at(root))
	require.NoError(t, err)
	assert.Contains(t, done.Remarks, link+": not made by install, and not replaced: "+Aside(link)+" is in the way")
	assert.True(t, leadsTo(link, root+"/usr/sbin/date"))
	_, err = Clean(reload(t, cfg))
	require.NoError(t, err)
	snapshot.Same(t, before, snapshotOf(t, root))
}
