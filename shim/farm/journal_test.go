package farm

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/test/lib/snapshot"
)

// TestForeignJournal: a copied bundle has the first bundle's journal, whose links lead there. If
// the copy undid that journal, it would take every file kept aside for replaced, and remove it.
func TestForeignJournal(t *testing.T) {
	root, cfg, _ := installed(t)
	other := cfg
	other.Dir = root + "/copy"
	out, err := exec.Command("cp", "-a", cfg.Dir, other.Dir).CombinedOutput()
	require.NoError(t, err, "%s", out)
	before := snapshot.Of(t, root)
	_, err = Clean(reload(t, other))
	require.ErrorContains(t, err, JournalName+" is the journal of the bundle "+cfg.Dir)
	_, err = Install(reload(t, other), at(root))
	require.ErrorContains(t, err, "nothing was changed")
	_, err = Inspect(reload(t, other), at(root).Path)
	require.Error(t, err)
	snapshot.Same(t, before, snapshot.Of(t, root))
	nothingLost(t, cfg, root)
}

// TestEachPrefix: if the power is lost, any part of what is recorded before the first change may
// have reached the disk. No such record is undone as if its change had been made.
func TestEachPrefix(t *testing.T) {
	root, cfg, before := installed(t)
	text, err := os.ReadFile(filepath.Join(cfg.Dir, JournalName))
	require.NoError(t, err)
	_, err = Clean(cfg)
	require.NoError(t, err)
	for end := range text {
		if text[end] != '\n' && end%41 != 0 {
			continue
		}
		cfg := bundle(t, root)
		require.NoError(t, os.WriteFile(filepath.Join(cfg.Dir, JournalName), text[:end+1], 0o644))
		if end%2 == 0 {
			_, err := Install(cfg, at(root))
			require.NoError(t, err)
			nothingLost(t, cfg, root)
		}
		_, err := Clean(reload(t, cfg))
		require.NoError(t, err)
		snapshot.Same(t, before, snapshotOf(t, root))
	}
}

// TestTamperedJournal: what is not install's stays as it is, whatever the journal says about it.
func TestTamperedJournal(t *testing.T) {
	root, cfg, before := installed(t)
	var lines strings.Builder
	for _, line := range []string{
		`place "%s/usr/bin/native" 7`, `place "%s/usr/bin/text" 7`, `place "%s/etc/alternatives/awk" 0`, `place "%s/usr/bin/directory" 0`,
		`relink "%s/usr/bin/native"`, `farm "%s/usr"`, `farm "%s/opt/own"`, `kept "%s/usr/bin/text"`, `mtime "%s/usr/bin/mawk" 5`, `mtime "%s/bin" 5`,
	} {
		fmt.Fprintf(&lines, line+"\n", root)
	}
	f, err := os.OpenFile(filepath.Join(cfg.Dir, JournalName), os.O_WRONLY|os.O_APPEND, 0)
	require.NoError(t, err)
	_, err = f.WriteString(lines.String())
	require.NoError(t, err)
	require.NoError(t, f.Close())
	_, err = Clean(cfg)
	require.NoError(t, err)
	snapshot.Same(t, before, snapshotOf(t, root))
}

// TestSyncs: the number of syncs does not depend on the number of links.
func TestSyncs(t *testing.T) {
	saved := fsync
	defer func() { fsync = saved }()
	syncs := func(links int) (install, clean int) {
		root := freshTree(t)
		for n := range links {
			write(t, fmt.Sprintf("%s/usr/bin/command%d", root, n), guest("command"))
		}
		cfg := bundle(t, root)
		n := 0
		fsync = func(f *os.File) error {
			if filepath.Base(f.Name()) == JournalName {
				n++
			}
			return saved(f)
		}
		_, err := Install(cfg, at(root))
		require.NoError(t, err)
		install, n = n, 0
		_, err = Clean(reload(t, cfg))
		require.NoError(t, err)
		return install, n
	}
	fewInstall, fewClean := syncs(0)
	manyInstall, manyClean := syncs(100)
	assert.Equal(t, fewInstall, manyInstall)
	assert.Equal(t, fewClean, manyClean)
	assert.Equal(t, []int{1, 1}, []int{fewInstall, fewClean})
}
