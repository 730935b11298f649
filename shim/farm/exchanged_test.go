package farm

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/config"
	"binproxy/test/lib/need"
	"binproxy/test/lib/snapshot"
)

// other is a user who owns a directory of an image that root changes.
const other = 65534

// shared is an image with that user's directory, in which a named command is, also by a further
// name of root's file. The farm is there, too. elsewhere is a directory outside.
func shared(t *testing.T) (root, elsewhere string, cfg config.Config, opts Options) {
	root = freshTree(t)
	home := root + "/home/"
	require.NoError(t, os.MkdirAll(home+"bin", 0o755))
	write(t, home+"bin/tool", guest("tool"))
	require.NoError(t, os.Link(root+"/usr/bin/perl", home+"bin/perl9"))
	for _, name := range []string{"", "bin", "bin/tool"} {
		require.NoError(t, os.Chown(home+name, other, other))
	}
	elsewhere = root + "/elsewhere"
	require.NoError(t, os.Mkdir(elsewhere, 0o755))
	cfg = bundle(t, root)
	write(t, elsewhere+"/tool", guest("root's tool"))
	opts = at(root)
	opts.Paths = append(opts.Paths, home+"bin")
	opts.Farm = home + "farm"
	return root, elsewhere, cfg, opts
}

// lead exchanges a directory for that user's link to another one.
func lead(t *testing.T, dir, to string) {
	if os.Rename(dir, dir+".moved") == nil {
		require.NoError(t, os.Symlink(to, dir))
		require.NoError(t, os.Lchown(dir, other, other))
	}
}

// exchanges are what that user may do at any moment. A file that he puts in the place of another
// one's name looks like that.
var exchanges = []func(t *testing.T, root, elsewhere string){
	func(t *testing.T, root, elsewhere string) { lead(t, root+"/home/bin", elsewhere) },
	func(t *testing.T, root, elsewhere string) { lead(t, root+"/home/farm", elsewhere) },
	func(t *testing.T, root, elsewhere string) { lead(t, root+"/home", elsewhere) },
	func(t *testing.T, root, elsewhere string) {
		name, perl := root+"/home/bin/perl9", Aside(root+"/usr/bin/perl")
		if fi, err := os.Lstat(perl); err == nil && os.Remove(name) == nil {
			require.NoError(t, os.WriteFile(name, []byte(guest("evil")), fi.Mode()))
			require.NoError(t, os.Chtimes(name, fi.ModTime(), fi.ModTime()))
			require.NoError(t, os.Chown(name, other, other))
		}
	},
}

// TestExchangedMeanwhile: while root's install or clean runs, the user exchanges what he may,
// before each change. Nothing outside of his directories is changed by that.
func TestExchangedMeanwhile(t *testing.T) {
	need.Root(t)
	defer func(before func()) { step = before }(step)
	stride := 1
	if testing.Short() {
		stride = 11
	}
	for _, exchange := range exchanges {
		for n, more := 1, true; more; n += stride {
			root, elsewhere, cfg, opts := shared(t)
			before := snapshot.Of(t, elsewhere)
			more = exchanged(t, n, func() { exchange(t, root, elsewhere) }, func() error { _, err := Install(cfg, opts); return err })
			snapshot.Same(t, before, snapshot.Of(t, elsewhere))
			nothingLost(t, reload(t, cfg), root)
		}
		for n, more := 1, true; more; n += stride {
			root, elsewhere, cfg, opts := shared(t)
			_, err := Install(cfg, opts)
			require.NoError(t, err)
			part(t, Aside(root+"/usr/bin/perl"))
			require.NoError(t, os.Rename(elsewhere+"/tool", Aside(elsewhere+"/tool")))
			require.NoError(t, os.Symlink(cfg.Self(), elsewhere+"/tool"))
			before := snapshot.Of(t, elsewhere)
			more = exchanged(t, n, func() { exchange(t, root, elsewhere) }, func() error { _, err := Clean(reload(t, cfg)); return err })
			snapshot.Same(t, before, snapshot.Of(t, elsewhere))
			nothingLost(t, reload(t, cfg), root)
		}
	}
}

// exchanged exchanges something before the nth change. more is false if there was none.
func exchanged(t *testing.T, n int, exchange func(), change func() error) (more bool) {
	left := n
	step = func() {
		if left--; left == 0 {
			exchange()
		}
	}
	if err := change(); err != nil {
		require.LessOrEqual(t, left, 0, "%v", err)
	}
	return left <= 0
}

// TestLinkMeanwhile: a directory may have become a link, if nobody else can have put it there.
func TestLinkMeanwhile(t *testing.T) {
	root, cfg, _ := installed(t)
	require.NoError(t, os.Rename(root+"/opt", root+"/usr/opt"))
	require.NoError(t, os.Symlink("usr/opt", root+"/opt"))
	_, err := Install(cfg, at(root))
	require.NoError(t, err)
	_, err = Clean(cfg)
	require.NoError(t, err)
	text, err := os.ReadFile(root + "/usr/opt/lang/lang")
	require.NoError(t, err)
	assert.Equal(t, guest("lang"), string(text))
}
