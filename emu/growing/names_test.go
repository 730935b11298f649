package growing

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"binproxy/test/lib/need"
)

// TestNames: a link on the way is followed where nobody else can have put it.
func TestNames(t *testing.T) {
	need.Root(t)
	const other = 65534
	top := t.TempDir()
	for _, dir := range []string{"real", "real/in", "others", "open", "sticky"} {
		require.NoError(t, os.Mkdir(top+"/"+dir, 0o755))
	}
	require.NoError(t, os.Chown(top+"/others", other, other))
	require.NoError(t, os.Chmod(top+"/open", 0o775))
	require.NoError(t, os.Chmod(top+"/sticky", 0o777|os.ModeSticky))
	for name, to := range map[string]string{
		"link": "real", "absolute": top + "/real", "up": "open/../real", "upAgain": "open/../link", "others/link": top + "/real", "open/link": "../real", "sticky/link": "../real",
		"sticky/others": "../real", "loop": "loop",
	} {
		require.NoError(t, os.Symlink(to, top+"/"+name))
	}
	require.NoError(t, os.Lchown(top+"/sticky/others", other, other))
	require.NoError(t, os.Symlink("real/in", top+"/theirs"))
	require.NoError(t, os.Lchown(top+"/theirs", other, other))
	require.NoError(t, os.WriteFile(top+"/file", nil, 0o644))
	for path, want := range map[string]error{
		"/real/in": nil, "/link/in": nil, "/absolute//in/.": nil, "/sticky/link/in": nil, "/others": nil, "/open": nil,
		"/up": nil, "/upAgain": errLink, "/others/link/in": errLink, "/open/link": errLink, "/sticky/others": errLink, "/theirs": errLink, "/loop": errLink,
		"/file": unix.ENOTDIR, "/none": unix.ENOENT, "/none/in": unix.ENOENT,
	} {
		var names Names
		dir, err := names.Dir(top + path)
		require.ErrorIs(t, err, want, path)
		if err == nil {
			want, err := os.Stat(top + path)
			require.NoError(t, err)
			got, err := dir.Stat()
			require.NoError(t, err)
			assert.True(t, os.SameFile(want, got), path)
		}
		names.Close()
	}
}

// TestNamesStay: a directory that was looked up is used under that name, wherever its name leads.
func TestNamesStay(t *testing.T) {
	top := t.TempDir()
	dir, elsewhere := top+"/dir", top+"/elsewhere"
	for _, dir := range []string{dir, elsewhere} {
		require.NoError(t, os.Mkdir(dir, 0o755))
	}
	var names Names
	defer names.Close()
	require.NoError(t, names.Symlink("text", dir+"/link"))
	require.NoError(t, os.Rename(dir, dir+".moved"))
	require.NoError(t, os.Symlink("elsewhere", dir))
	require.NoError(t, names.Mkdir(dir+"/sub", 0o755))
	require.NoError(t, names.Link(dir+"/link", dir+"/second"))
	require.NoError(t, names.Exchange(dir+"/second", dir+"/sub"))
	require.NoError(t, names.Rename(dir+"/link", dir+"/third"))
	require.NoError(t, names.Remove(dir+"/sub"))
	require.NoError(t, names.SetModTime(dir, time.Unix(77, 0)))
	text, err := os.Readlink(dir + ".moved/third")
	require.NoError(t, err)
	assert.Equal(t, "text", text)
	fi, err := os.Stat(dir + ".moved")
	require.NoError(t, err)
	assert.Equal(t, int64(77), fi.ModTime().Unix())
	require.NoError(t, os.WriteFile(dir+".moved/second/file", nil, 0o644))
	require.ErrorIs(t, names.Remove(dir+"/second"), unix.ENOTEMPTY)
	for _, name := range []string{"second", "third"} {
		_, err = names.Open(dir + "/" + name)
		require.Error(t, err, "no regular file")
	}
	entries, err := os.ReadDir(elsewhere)
	require.NoError(t, err)
	assert.Empty(t, entries)
}
