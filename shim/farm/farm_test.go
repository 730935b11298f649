package farm

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/config"
	"binproxy/test/lib/need"
	"binproxy/test/lib/snapshot"
)

func installed(t *testing.T) (string, config.Config, []string) {
	root := freshTree(t)
	before := snapshotOf(t, root)
	cfg := bundle(t, root)
	done, err := Install(cfg, at(root))
	require.NoError(t, err)
	require.Positive(t, done.Added)
	return root, reload(t, cfg), before
}

func write(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(text), 0o755))
}

// TestEveryKind checks the result for each kind of file, as docs/farm.md states it.
func TestEveryKind(t *testing.T) {
	t.Setenv("PATH", "/nonexistent") // an emulator could be found there, too
	root, cfg, before := installed(t)
	status, err := Inspect(cfg, at(root).Path)
	require.NoError(t, err)
	require.Empty(t, status.Remarks)
	items := map[string]Item{}
	for _, item := range status.Items {
		items[strings.TrimPrefix(item.Path, root)] = item
	}
	for name, want := range map[string]struct {
		farm, inPlace bool
		reason, note  string
	}{
		"/usr/bin/date":        {farm: true, inPlace: true},
		"/usr/sbin/date":       {farm: true}, // in PATH, but not named
		"/usr/bin/sh":          {farm: true, inPlace: true},
		"/usr/bin/awk":         {farm: true, inPlace: true},
		"/usr/bin/mawk":        {farm: true, inPlace: true},
		"/usr/bin/perl":        {farm: true, inPlace: true},
		"/usr/bin/perl5":       {farm: true, inPlace: true},
		"/usr/sbin/perl6":      {farm: true},
		"/usr/bin/script":      {farm: true, inPlace: true},
		"/usr/local/bin/tool":  {farm: true, inPlace: true},
		"/usr/bin/with space":  {farm: true, inPlace: true},
		"/usr/bin/new\nline":   {farm: true, inPlace: true},
		"/usr/bin/" + oddName:  {farm: true, inPlace: true},
		"/usr/bin/su":          {farm: true, inPlace: true, note: "setuid"},
		"/usr/bin/secret":      {farm: true, inPlace: true, note: "not readable by everyone"},
		"/usr/bin/" + longName: {farm: true},
		"/usr/bin/ld.so":       {farm: true},
		"/usr/bin/native":      {reason: "the host's own program"},
		"/usr/bin/cut":         {reason: "not an ELF file"},
		"/usr/bin/cut2":        {reason: "ELF header: the file ends in it"},
		"/usr/bin/object":      {reason: "an ELF file, but no program"},
		"/usr/bin/unknown":     {reason: "an ELF file of an unknown architecture"},
		"/usr/bin/relative":    {reason: "interpreter usr/bin/mawk: a relative path"},
		"/usr/bin/nameless":    {reason: "its #! line names no interpreter"},
		"/usr/bin/risc":        {reason: "no emulator for riscv64"},
		"/usr/bin/text":        {reason: "neither an ELF program nor a #! script"},
		"/usr/bin/notes":       {reason: "not executable"},
		"/usr/bin/orphan":      {reason: "interpreter /nonexistent/interpreter: no such file or directory"},
		"/usr/bin/dangling":    {reason: "dangling link"},
		"/usr/bin/loop":        {reason: "too many levels of symbolic links"},
		"/usr/bin/fifo":        {reason: "not a regular file"},
	} {
		item, ok := items[name]
		if assert.True(t, ok, "%q is not in the status", name) {
			assert.Equal(t, want.farm, item.Farm, "%q", name)
			assert.Equal(t, want.inPlace, item.InPlace, "%q", name)
			assert.Equal(t, want.reason, item.Reason, "%q", name)
			assert.Contains(t, strings.Join(item.Notes, "; "), want.note, "%q", name)
		}
	}
	assert.NotContains(t, items, "/usr/bin/directory")
	// An interpreter outside of the named directories is in place, because the kernel opens it by
	// its path. A script stays where it is.
	assert.True(t, leadsTo(root+"/opt/lang/lang", cfg.Self()))
	assert.False(t, leadsTo(root+"/usr/local/bin/tool", cfg.Self()))
	assert.False(t, exists(Aside(root+"/usr/local/bin/tool")))
	// The farm mirrors a directory that is a link, and each of the two dates has its own link.
	text, err := os.Readlink(cfg.Farm() + root + "/bin")
	require.NoError(t, err)
	assert.Equal(t, "usr/bin", text)
	for _, name := range []string{"/usr/bin/date", "/usr/sbin/date"} {
		real, errno := (Root{cfg.Self(), cfg.AllFarms()}).Real(cfg.Farm() + root + name)
		require.Zero(t, errno)
		bytes, err := os.ReadFile(real)
		require.NoError(t, err)
		assert.Equal(t, commands[name[1:]], string(bytes))
	}
	_, err = Clean(cfg)
	require.NoError(t, err)
	snapshot.Same(t, before, snapshotOf(t, root))
}

// TestRelativeInterpreter installs from the directory in which a script's `#!usr/bin/mawk` is
// found: elsewhere that path means another file, or none.
func TestRelativeInterpreter(t *testing.T) {
	root := freshTree(t)
	before := snapshotOf(t, root)
	cfg := bundle(t, root)
	t.Chdir(root)
	options := at(root)
	options.Paths = []string{root + "/usr/bin/relative"}
	_, err := Install(cfg, options)
	require.NoError(t, err)
	assert.False(t, leadsTo(root+"/usr/bin/mawk", cfg.Self()))
	_, err = Clean(reload(t, cfg))
	require.NoError(t, err)
	snapshot.Same(t, before, snapshotOf(t, root))
}

func TestInstallAgainChangesNothing(t *testing.T) {
	root, cfg, _ := installed(t)
	before := snapshotOf(t, root)
	journal, err := os.ReadFile(filepath.Join(cfg.Dir, JournalName))
	require.NoError(t, err)
	done, err := Install(cfg, at(root))
	require.NoError(t, err)
	assert.True(t, done.NothingToChange, "%+v", done)
	snapshot.Same(t, before, snapshotOf(t, root))
	again, err := os.ReadFile(filepath.Join(cfg.Dir, JournalName))
	require.NoError(t, err)
	assert.Equal(t, string(journal), string(again))
}

// TestDirectoryTimes: install does not change the times of the image's directories.
func TestDirectoryTimes(t *testing.T) {
	root := freshTree(t)
	want := fileTime(root + "/usr/bin")
	cfg := bundle(t, root)
	_, err := Install(cfg, at(root))
	require.NoError(t, err)
	assert.Equal(t, want, fileTime(root+"/usr/bin"))
}

func TestTakesInWhatIsNewAndDropsWhatHasGone(t *testing.T) {
	root, cfg, _ := installed(t)
	write(t, root+"/usr/bin/added", guest("added"))
	require.NoError(t, os.Remove(root+"/usr/bin/date"))
	require.NoError(t, os.Remove(root+"/usr/sbin/date"))
	status, err := Inspect(cfg, at(root).Path)
	require.NoError(t, err)
	assert.Contains(t, strings.Join(status.Remarks, "\n"), "/usr/bin/date: was removed since")
	assert.Contains(t, strings.Join(status.Remarks, "\n"), "/usr/sbin/date: the farm has a link for it")
	done, err := Install(cfg, at(root))
	require.NoError(t, err)
	assert.Equal(t, []int{1, 2, 1}, []int{done.Added, done.Dropped, done.Placed})
	assert.True(t, leadsTo(root+"/usr/bin/added", cfg.Self()))
	assert.True(t, leadsTo(cfg.Farm()+root+"/usr/bin/added", cfg.Self()))
	assert.False(t, exists(Aside(root+"/usr/bin/date")))
	assert.False(t, exists(cfg.Farm()+root+"/usr/bin/date"))
}

// A package manager writes the new file under another name and renames it over the old.
func replace(t *testing.T, path, text string) {
	t.Helper()
	write(t, path+".dpkg-new", text)
	require.NoError(t, os.Rename(path+".dpkg-new", path))
}

func TestCleanKeepsTheNewerFile(t *testing.T) {
	root, cfg, _ := installed(t)
	replace(t, root+"/usr/bin/date", guest("newer"))
	require.NoError(t, os.Remove(root+"/usr/bin/mawk"))
	cleaned, err := Clean(cfg)
	require.NoError(t, err)
	assert.ElementsMatch(t, []string{
		root + "/usr/bin/date: was replaced by a newer file since: the newer one is kept",
		root + "/usr/bin/mawk: was removed since: it stays removed",
	}, cleaned.Remarks)
	text, err := os.ReadFile(root + "/usr/bin/date")
	require.NoError(t, err)
	assert.Equal(t, guest("newer"), string(text))
	assert.False(t, exists(root+"/usr/bin/mawk"))
	assert.Empty(t, asides(t, root))
}

func TestInstallTakesTheNewerFileIn(t *testing.T) {
	root, cfg, _ := installed(t)
	replace(t, root+"/usr/bin/date", guest("newer"))
	done, err := Install(cfg, at(root))
	require.NoError(t, err)
	assert.Contains(t, done.Remarks, root+"/usr/bin/date: was replaced by a newer file since: the newer one is routed now")
	text, err := os.ReadFile(Aside(root + "/usr/bin/date"))
	require.NoError(t, err)
	assert.Equal(t, guest("newer"), string(text))
}

// TestRenamedCommand: `mv` moves the link only; the file must not be lost with it.
func TestRenamedCommand(t *testing.T) {
	root, cfg, _ := installed(t)
	require.NoError(t, os.Rename(root+"/usr/bin/date", root+"/usr/bin/date.orig"))
	write(t, root+"/usr/bin/date", "#!/bin/sh\nexec date.orig\n")
	_, err := Clean(cfg)
	require.NoError(t, err)
	text, err := os.ReadFile(root + "/usr/bin/date.orig")
	require.NoError(t, err)
	assert.Equal(t, guest("date"), string(text))
	assert.Empty(t, asides(t, root))
}

// TestRenamedCommands: the same with several commands. A suffix shows which is which; without one,
// a file gets its old name rather than none.
func TestRenamedCommands(t *testing.T) {
	root, cfg, _ := installed(t)
	move := func(from, to string) { require.NoError(t, os.Rename(root+"/usr/bin/"+from, root+"/usr/bin/"+to)) }
	move("date", "date.orig")
	write(t, root+"/usr/bin/date", "#!/bin/sh\nexec date.orig\n")
	move("mawk", "mawk.distrib")
	move("with space", "without")
	cleaned, err := Clean(cfg)
	require.NoError(t, err)
	for name, want := range map[string]string{"date.orig": guest("date"), "mawk.distrib": guest("mawk"), "date": "#!/bin/sh\nexec date.orig\n"} {
		text, err := os.ReadFile(root + "/usr/bin/" + name)
		require.NoError(t, err)
		assert.Equal(t, want, string(text), name)
	}
	assert.Contains(t, strings.Join(cleaned.Remarks, "\n"), root+"/usr/bin/without since: the file is there now")
	assert.Empty(t, asides(t, root))
}

func TestRenamedBeyondTelling(t *testing.T) {
	root, cfg, _ := installed(t)
	for _, name := range []string{"date", "mawk"} {
		require.NoError(t, os.Rename(root+"/usr/bin/"+name, root+"/usr/bin/new"+name))
	}
	cleaned, err := Clean(cfg)
	require.NoError(t, err)
	for _, name := range []string{"date", "mawk"} {
		text, err := os.ReadFile(root + "/usr/bin/" + name)
		require.NoError(t, err)
		assert.Equal(t, guest(name), string(text))
	}
	assert.Contains(t, cleaned.Remarks[0], "was removed since, or renamed to one of "+root+"/usr/bin/newdate, "+root+"/usr/bin/newmawk")
	assert.Empty(t, asides(t, root))
}

func TestRenamedAndReplaced(t *testing.T) {
	root, cfg, _ := installed(t)
	for _, name := range []string{"date", "mawk"} {
		require.NoError(t, os.Rename(root+"/usr/bin/"+name, root+"/usr/bin/new"+name))
		write(t, root+"/usr/bin/"+name, "#!/bin/sh\nexec another\n")
	}
	cleaned, err := Clean(cfg)
	require.NoError(t, err)
	for _, name := range []string{"date", "mawk"} {
		text, err := os.ReadFile(root + "/usr/bin/.binproxy." + name)
		require.NoError(t, err)
		assert.Equal(t, guest(name), string(text))
	}
	assert.Contains(t, cleaned.Remarks[0], "was replaced since, or renamed to one of "+root+"/usr/bin/newdate, "+root+"/usr/bin/newmawk: its old file is kept as "+root+"/usr/bin/.binproxy.date")
}

// TestInstallAfterReplaced: install works beside the file that it keeps.
func TestInstallAfterReplaced(t *testing.T) {
	root, cfg, _ := installed(t)
	for _, name := range []string{"date", "mawk"} {
		require.NoError(t, os.Rename(root+"/usr/bin/"+name, root+"/usr/bin/new"+name))
		write(t, root+"/usr/bin/"+name, guest("newer"))
	}
	_, err := Install(cfg, at(root))
	require.NoError(t, err)
	text, err := os.ReadFile(root + "/usr/bin/.binproxy.date")
	require.NoError(t, err)
	assert.Equal(t, guest("date"), string(text))
}

// TestRemovedAndRenamed: the only stray link does not belong to the first command that has lost
// its link.
func TestRemovedAndRenamed(t *testing.T) {
	root, cfg, _ := installed(t)
	require.NoError(t, os.Remove(root+"/usr/bin/date"))
	require.NoError(t, os.Rename(root+"/usr/bin/mawk", root+"/usr/bin/mawk.distrib"))
	_, err := Clean(cfg)
	require.NoError(t, err)
	text, err := os.ReadFile(root + "/usr/bin/mawk.distrib")
	require.NoError(t, err)
	assert.Equal(t, guest("mawk"), string(text))
}

func asides(t *testing.T, root string) (found []string) {
	require.NoError(t, filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		if IsAside(path) {
			found = append(found, path)
		}
		return err
	}))
	return found
}

func TestFarmElsewhere(t *testing.T) {
	root := freshTree(t)
	before := snapshotOf(t, root)
	cfg := bundle(t, root)
	opts := at(root)
	opts.Farm = root + "/opt/my farm"
	_, err := Install(cfg, opts)
	require.NoError(t, err)
	cfg = reload(t, cfg)
	assert.Equal(t, []string{opts.Farm}, cfg.Farms)
	assert.False(t, exists(cfg.Farm()))
	nothingLost(t, cfg, root)
	done, err := Install(cfg, at(root)) // without the flag: the existing farm
	require.NoError(t, err)
	assert.True(t, done.NothingToChange)
	write(t, opts.Farm+"/foreign", "not ours")
	cleaned, err := Clean(reload(t, cfg))
	require.NoError(t, err)
	assert.Equal(t, []string{`"` + opts.Farm + `/foreign": not made by install: kept`}, quoteAll(cleaned.Remarks, opts.Farm+"/foreign"))
	require.NoError(t, os.RemoveAll(opts.Farm))
	require.NoError(t, os.Chtimes(root+"/opt", fileTime(root+"/opt"), fileTime(root+"/opt")))
	assert.Equal(t, withoutTime(before, "/opt\""), withoutTime(snapshotOf(t, root), "/opt\""))
}

func quoteAll(lines []string, name string) []string {
	for i := range lines {
		lines[i] = strings.Replace(lines[i], name, `"`+name+`"`, 1)
	}
	return lines
}

func withoutTime(lines []string, suffix string) []string {
	return slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return strings.HasPrefix(l, `"`+suffix) })
}

func TestFarmMustBeNewOrOurs(t *testing.T) {
	root := freshTree(t)
	cfg := bundle(t, root)
	for farm, want := range map[string]string{
		root + "/usr":             "is there already, and not empty",
		root + "/nowhere/farm":    "no such file or directory",
		"relative":                "needs an absolute path",
		root + "/usr/../usr/farm": "needs an absolute path",
	} {
		opts := at(root)
		opts.Farm = farm
		_, err := Install(cfg, opts)
		assert.ErrorContains(t, err, want)
	}
}

func TestCleanKeepsForeignFilesOfTheBundle(t *testing.T) {
	_, cfg, _ := installed(t)
	write(t, cfg.Dir+"/mine", "precious")
	cleaned, err := Clean(cfg)
	require.NoError(t, err)
	assert.Equal(t, []string{cfg.Dir + "/mine: no part of the bundle: kept"}, cleaned.Remarks)
	entries, err := os.ReadDir(cfg.Dir)
	require.NoError(t, err)
	require.Len(t, entries, 1)
}

func TestCleanNeedsABundle(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/binproxy", "the program")
	_, err := Clean(config.Config{Dir: dir})
	require.ErrorIs(t, err, ErrNoBundle)
	assert.FileExists(t, dir+"/binproxy")
}

func TestCleanOfNothing(t *testing.T) {
	root := freshTree(t)
	before := snapshotOf(t, root)
	cfg := bundle(t, root)
	cleaned, err := Clean(cfg)
	require.NoError(t, err)
	assert.Equal(t, []string{"nothing was installed"}, cleaned.Remarks)
	assert.NoDirExists(t, cfg.Dir)
	snapshot.Same(t, before, snapshotOf(t, root))
}

func TestForeignFileInTheWay(t *testing.T) {
	root := freshTree(t)
	write(t, Aside(root+"/usr/bin/date"), "someone's")
	cfg := bundle(t, root)
	done, err := Install(cfg, at(root))
	require.NoError(t, err)
	assert.Contains(t, strings.Join(done.Remarks, "\n"), "is in the way")
	_, err = Clean(cfg)
	require.NoError(t, err)
	assert.FileExists(t, Aside(root+"/usr/bin/date"))
}

// TestHardLinksOnOverlay: there an exchanged name becomes a file of its own, and clean must join
// it with its hard links, also with those that were not put in place.
func TestHardLinksOnOverlay(t *testing.T) {
	inOverlay(t, func(fresh func(t *testing.T) string) {
		root := fresh(t)
		before := snapshotOf(t, root)
		cfg := bundle(t, root)
		opts := at(root)
		opts.Paths = []string{root + "/usr/bin/perl"}
		_, err := Install(cfg, opts)
		require.NoError(t, err)
		opts.Paths = []string{root + "/usr/bin/perl5"}
		_, err = Install(cfg, opts)
		require.NoError(t, err)
		require.False(t, sameFile(Aside(root+"/usr/bin/perl"), Aside(root+"/usr/bin/perl5")), "the overlay keeps hard links: this tests nothing")
		cleaned, err := Clean(cfg)
		require.NoError(t, err)
		assert.Empty(t, cleaned.Remarks)
		snapshot.Same(t, before, snapshotOf(t, root))
	})
}

// TestFullFileSystem: for each number of free inodes, an install that fails undoes its changes.
func TestFullFileSystem(t *testing.T) {
	inOverlay(t, func(fresh func(t *testing.T) string) {
		fresh(t)
		small := t.TempDir()
		for blocks := 20; ; blocks++ {
			require.NoError(t, syscall.Mount("tmpfs", small, "tmpfs", 0, "nr_inodes="+strconv.Itoa(blocks+60)))
			tree(t, small, small)
			cfg := bundle(t, small)
			before := snapshotOf(t, small)
			_, err := Install(cfg, at(small))
			if err != nil {
				assert.ErrorIs(t, err, syscall.ENOSPC)
				snapshot.Same(t, before, snapshotOf(t, small))
				assert.Equal(t, []string{"binproxy", "binproxy.conf", "lib", "qemu-aarch64", "sh", "uname"}, names(t, cfg.Dir))
			}
			require.NoError(t, syscall.Unmount(small, 0))
			if err == nil {
				require.Greater(t, blocks, 21, "the file system was never full")
				return
			}
		}
	})
}

func names(t *testing.T, dir string) (names []string) {
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestReadOnly(t *testing.T) {
	inOverlay(t, func(fresh func(t *testing.T) string) {
		root := fresh(t)
		cfg := bundle(t, root)
		before := snapshotOf(t, root)
		bin := root + "/usr/bin"
		require.NoError(t, syscall.Mount(bin, bin, "", syscall.MS_BIND, ""))
		require.NoError(t, syscall.Mount(bin, bin, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
		defer syscall.Unmount(bin, 0)
		_, err := Install(cfg, at(root))
		require.ErrorIs(t, err, syscall.EROFS)
		assert.ErrorContains(t, err, bin)
		assert.ErrorContains(t, err, "nothing was changed")
		snapshot.Same(t, before, snapshotOf(t, root))
		assert.NotContains(t, names(t, cfg.Dir), JournalName)
	})
}

func TestOrdinaryUser(t *testing.T) {
	root := freshTree(t)
	cfg := bundle(t, root)
	if os.Geteuid() == 0 {
		// The directories stay root's: the thread that does this loses its capabilities with its
		// uid.
		asUser(t, cfg.Dir, func() {
			_, err := Install(cfg, at(root))
			assert.ErrorIs(t, err, syscall.EACCES)
			assert.ErrorContains(t, err, "nothing was changed")
			_, err = Clean(cfg)
			assert.ErrorIs(t, err, syscall.EACCES)
		})
	} else {
		require.NoError(t, os.Chmod(root+"/usr/bin", 0o555))
		defer os.Chmod(root+"/usr/bin", 0o755)
		_, err := Install(cfg, at(root))
		assert.ErrorIs(t, err, syscall.EACCES)
	}
	assert.NotContains(t, names(t, cfg.Dir), JournalName)
}

// asUser calls do as nobody, in every thread, which can reach the directory root.
func asUser(t *testing.T, root string, do func()) {
	need.Root(t)
	for dir := root; dir != "/"; dir = filepath.Dir(dir) {
		fi, err := os.Stat(dir)
		require.NoError(t, err)
		if fi.Mode()&0o055 != 0o055 {
			require.NoError(t, os.Chmod(dir, fi.Mode()|0o055))
			defer os.Chmod(dir, fi.Mode())
		}
	}
	require.NoError(t, syscall.Seteuid(65534))
	defer syscall.Seteuid(0)
	do()
}

func TestTwoInstallsAtOnce(t *testing.T) {
	root := freshTree(t)
	before := snapshotOf(t, root)
	cfg := bundle(t, root)
	errs := make(chan error)
	for n := range 4 {
		go func() {
			opts := at(root)
			opts.Farm = root + "/opt/farm" + strconv.Itoa(n)
			_, err := Install(cfg, opts)
			errs <- err
		}()
	}
	for range 4 {
		require.NoError(t, <-errs)
	}
	require.Len(t, reload(t, cfg).Farms, 4)
	nothingLost(t, reload(t, cfg), root)
	_, err := Clean(cfg)
	require.NoError(t, err)
	snapshot.Same(t, before, snapshotOf(t, root))
}

func FuzzJournal(f *testing.F) {
	f.Add("place \"/usr/bin/da\\nte\" 3\nmtime \"/usr/bin\" 12\nsettled \"/usr/bin\"\nfarm \"/x\"\nrelink \"/a\"\nrelinked \"/a\"\nsibling \"/b\" 3\nplace \"/to")
	f.Add("place \"relative\" 1\nplace \"/a/../b\" 1\nplace `/x` 1\n\n\x00")
	f.Fuzz(func(t *testing.T, text string) {
		j := newJournal("")
		j.load(text)
		// Records that are read and written again read the same, and no record has a path that is
		// not absolute and clean.
		for _, line := range strings.Split(text, "\n") {
			r, ok := parseRecord(line)
			if !ok {
				continue
			}
			require.True(t, filepath.IsAbs(r.path) && filepath.Clean(r.path) == r.path)
			again, ok := parseRecord(r.String())
			require.True(t, ok)
			require.Equal(t, r, again)
			require.NotContains(t, r.String(), "\n")
		}
		// Each prefix reads as its complete lines.
		whole := text[:strings.LastIndexByte(text, '\n')+1]
		k := newJournal("")
		k.load(whole)
		require.Equal(t, k, j)
	})
}

// TestBusybox: in Alpine's images /bin/sh and every other command is a link to one program.
func TestBusybox(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	require.NoError(t, os.Mkdir(root+"/bin", 0o755))
	write(t, root+"/bin/busybox", guest("busybox"))
	for _, name := range []string{"sh", "ls", "cat"} {
		require.NoError(t, os.Symlink(root+"/bin/busybox", root+"/bin/"+name))
	}
	before := snapshotOf(t, root)
	cfg := bundle(t, root)
	_, err = Install(cfg, Options{Path: root + "/bin", Paths: []string{root + "/bin/ls"}, Shell: root + "/bin/sh"})
	require.NoError(t, err)
	assert.True(t, leadsTo(root+"/bin/sh", cfg.Self()))
	assert.True(t, leadsTo(root+"/bin/busybox", cfg.Self()))
	assert.True(t, leadsTo(root+"/bin/cat", root+"/bin/busybox"))
	for _, name := range []string{"/bin/sh", "/bin/cat", "/bin/busybox", "/binproxy/farm" + root + "/bin/ls"} {
		call, err := Locate(root+name, filepath.Base(name))
		require.NoError(t, err)
		real, errno := call.Root.Real(call.Guest)
		require.Zero(t, errno, name)
		assert.Equal(t, Aside(root+"/bin/busybox"), real, name)
		assert.Equal(t, filepath.Base(name), call.Name())
	}
	_, err = Clean(cfg)
	require.NoError(t, err)
	snapshot.Same(t, before, snapshotOf(t, root))
}
