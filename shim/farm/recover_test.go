package farm

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/test/lib/snapshot"
)

// TestDamagedJournal: whatever happened to the journal, no command is left as a dangling link.
// Those in the farm's directories are restored, and the bundle stays for others. Only the
// directories' times, and which copies were one file, are lost.
func TestDamagedJournal(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"NULs":  func([]byte) []byte { return []byte("\x00\x00\x00") },
		"empty": func([]byte) []byte { return nil },
		"cut":   func(text []byte) []byte { return text[:len(text)/2] },
		"holes": func(text []byte) []byte { return bytes.ReplaceAll(text, []byte("place"), []byte("pl\x00ce")) },
		"gone":  nil,
	} {
		t.Run(name, func(t *testing.T) {
			root, cfg, before := installed(t)
			inPath := func() []Item { // no farm has a link in /opt/lang
				s, err := Inspect(cfg, at(root).Path)
				require.NoError(t, err)
				return slices.DeleteFunc(s.Items, func(i Item) bool { return strings.HasPrefix(i.Path, root+"/opt/") })
			}
			whole := inPath()
			path := filepath.Join(cfg.Dir, JournalName)
			if damage == nil {
				require.NoError(t, os.Remove(path))
			} else {
				text, err := os.ReadFile(path)
				require.NoError(t, err)
				require.NoError(t, os.WriteFile(path, damage(text), 0o644))
			}
			found, err := Inspect(cfg, at(root).Path)
			require.NoError(t, err)
			assert.Contains(t, strings.Join(found.Remarks, "\n"), JournalName+" is damaged: ")
			assert.Equal(t, whole, inPath())
			_, err = Install(cfg, at(root))
			require.NoError(t, err)
			assert.Equal(t, whole, inPath())

			_, err = Clean(cfg)
			var damaged *DamagedError
			require.ErrorAs(t, err, &damaged)
			assert.FileExists(t, cfg.Self())
			elsewhere := func(line string) bool { return strings.HasPrefix(line, `"/opt/`) }
			left := snapshotOf(t, root)
			snapshot.Same(t, withoutTimes(slices.DeleteFunc(before, elsewhere)), withoutTimes(slices.DeleteFunc(left, elsewhere)))
		})
	}
}

// TestLostJournal has its only place where no farm has a link: only the missing journal shows that
// there was one.
func TestLostJournal(t *testing.T) {
	root := freshTree(t)
	cfg := bundle(t, root)
	write(t, root+"/usr/local/bin/tool", "#!"+root+"/opt/lang/lang\n")
	options := at(root)
	options.Paths, options.Shell = []string{root + "/usr/local/bin/tool"}, ""
	_, err := Install(cfg, options)
	require.NoError(t, err)
	require.NoError(t, os.Remove(filepath.Join(cfg.Dir, JournalName)))
	_, err = Clean(reload(t, cfg))
	var damaged *DamagedError
	require.ErrorAs(t, err, &damaged)
	assert.FileExists(t, cfg.Self())
}

// A farm in a directory that existed leaves a journal, though nothing is in place: that journal is
// not lost.
func TestFarmAlone(t *testing.T) {
	root := freshTree(t)
	cfg := bundle(t, root)
	require.NoError(t, os.Mkdir(root+"/farm", 0o755))
	before := snapshotOf(t, root)
	options := at(root)
	options.Farm, options.Paths, options.Shell = root+"/farm", nil, ""
	_, err := Install(cfg, options)
	require.NoError(t, err)
	_, err = Clean(reload(t, cfg))
	require.NoError(t, err)
	snapshot.Same(t, before, snapshotOf(t, root))
}

// withoutTimes drops the times of directories from a snapshot.
func withoutTimes(lines []string) []string {
	directory := regexp.MustCompile(`^("[^"]*" 4\d{4} \S+) \S+`)
	var out []string
	for _, line := range lines {
		out = append(out, directory.ReplaceAllString(line, "$1"))
	}
	return out
}
