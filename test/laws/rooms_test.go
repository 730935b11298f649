package laws

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Each package of emu, shim, frontend and scripts has a row in docs/architecture.md, and each of
// test/lib one in docs/testing.md.
func TestRoomsAreDescribed(t *testing.T) {
	page := func(name string) string {
		text, err := os.ReadFile(filepath.Join(top, name))
		require.NoError(t, err)
		return string(text)
	}
	rooms, shared := page("docs/architecture.md"), page("docs/testing.md")
	for _, f := range goFiles(t) {
		dir := path.Dir(f.name)
		row := regexp.MustCompile("(?m)^\\| [^|]*`" + regexp.QuoteMeta(dir) + "/?`[^|]* \\|")
		switch {
		case within(dir, "emu"), within(dir, "shim"), within(dir, "frontend"), within(dir, "scripts"):
			assert.True(t, row.MatchString(rooms), "docs/architecture.md has no row for %s", dir)
		case within(dir, "test/lib"):
			assert.True(t, row.MatchString(shared), "docs/testing.md has no row for %s", dir)
		}
	}
}

// Every path of this repository that a comment or a page names exists. Words in capitals stand for
// any name.
func TestNamedPathsExist(t *testing.T) {
	for _, f := range goFiles(t) {
		for _, c := range f.syntax.Comments {
			for _, name := range missing(c.Text()) {
				t.Errorf("%s: a comment names %s, which is not there", f.name, name)
			}
		}
	}
	walk(t, func(file string, text []byte) {
		if strings.HasSuffix(file, ".md") && !strings.Contains(file, "testdata/") {
			for _, name := range missing(string(text)) {
				t.Errorf("%s names %s, which is not there", file, name)
			}
		}
	})
}

// paths matches paths below the directories of this repository.
var paths, placeholder = regexp.MustCompile(`(?:^|[^\w/.$~<-])((?:emu|shim|applets|scripts|test|docs)/[\w./*-]*[\w*])`),
	regexp.MustCompile(`(^|/)[A-Z]+($|[/.])`)

func missing(text string) (names []string) {
	for _, match := range paths.FindAllStringSubmatch(text, -1) {
		name := match[1]
		if placeholder.MatchString(name) {
			continue
		}
		found, err := filepath.Glob(filepath.Join(top, name))
		if err != nil || found == nil && !isRoom(strings.TrimSuffix(name, path.Ext(name))) {
			names = append(names, name)
		}
	}
	return names
}

// isRoom is for emu/sys.entry, a name in emu/sys.
func isRoom(dir string) bool {
	info, err := os.Stat(filepath.Join(top, dir))
	return err == nil && info.IsDir()
}

func TestNamedPathsLawHolds(t *testing.T) {
	require.Equal(t, []string{"emu/mntns", "docs/no.md"}, missing("as emu/mntns does (docs/no.md), in emu/sys.Retry, `emu/sys/file.go`, applets/NAME, linux/test/none"))
}
