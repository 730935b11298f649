package farm

import (
	"encoding/binary"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"binproxy/emu/config"
	"binproxy/test/lib/snapshot"
)

// elfFile is the start of an ELF program of a 64-bit machine, as much as install reads.
func elfFile(machine uint16, body string) string {
	head := make([]byte, 64)
	copy(head, "\x7fELF\x02\x01\x01")
	binary.LittleEndian.PutUint16(head[16:], 2)
	binary.LittleEndian.PutUint16(head[18:], machine)
	binary.LittleEndian.PutUint32(head[20:], 1)
	return string(head) + body
}

const (
	emX8664   = 62
	emAArch64 = 183
	emRISCV   = 243
)

func guest(body string) string { return elfFile(emAArch64, body) }

// oddName is a name of bytes that are not UTF-8.
const oddName = "odd\xff\xfe"

// longName is a valid name, but too long with the prefix of a kept file.
var longName = strings.Repeat("n", 250)

// tree makes a small image at dir, which is seen at root: merged /usr, a chain of alternatives,
// hard links, and one file of every kind.
func tree(t testing.TB, dir, root string) {
	for _, d := range []string{"usr/bin", "usr/sbin", "usr/local/bin", "usr/bin/directory", "etc/alternatives", "opt/lang", "opt/own"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	put := func(name, text string, mode os.FileMode) {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		require.NoError(t, os.Chmod(path, mode))
	}
	put("usr/bin/date", guest("date"), 0o755)
	put("usr/bin/dash", guest("dash"), 0o755)
	put("usr/bin/perl", guest("perl"), 0o755)
	put("usr/bin/mawk", guest("mawk"), 0o755)
	put("usr/bin/su", guest("su"), 0o755|fs.ModeSetuid)
	put("usr/bin/secret", guest("secret"), 0o711)
	put("usr/bin/with space", guest("space"), 0o755)
	put("usr/bin/new\nline", guest("newline"), 0o755)
	put("usr/bin/"+oddName, guest("odd"), 0o755)
	put("usr/bin/"+longName, guest("long"), 0o755)
	put("usr/bin/native", elfFile(emX8664, "native"), 0o755)
	native := elfFile(emX8664, "native")
	put("usr/bin/cut", native[:10], 0o755)
	put("usr/bin/cut2", native[:40], 0o755)
	put("usr/bin/object", native[:16]+"\x01"+native[17:], 0o755)
	put("usr/bin/unknown", native[:18]+"\xee\xee"+native[20:], 0o755)
	put("usr/bin/relative", "#!usr/bin/mawk\n", 0o755)
	put("usr/bin/nameless", "#!", 0o755)
	put("usr/bin/risc", elfFile(emRISCV, "risc"), 0o755)
	put("usr/bin/text", "echo no first line\n", 0o755)
	put("usr/bin/notes", guest("not executable"), 0o644)
	put("usr/bin/script", "#!"+root+"/usr/bin/perl -w\n", 0o755)
	put("usr/bin/orphan", "#!/nonexistent/interpreter\n", 0o755)
	put("usr/sbin/date", guest("another date"), 0o755)
	put("usr/local/bin/tool", "#! "+root+"/opt/lang/lang\n", 0o755)
	put("opt/lang/lang", guest("lang"), 0o755)
	put("opt/lang/ld-linux.so.1", guest("loader"), 0o755)
	put("opt/own/prog", guest("prog"), 0o755)
	require.NoError(t, os.Link(filepath.Join(dir, "usr/bin/perl"), filepath.Join(dir, "usr/bin/perl5")))
	require.NoError(t, os.Link(filepath.Join(dir, "usr/bin/perl"), filepath.Join(dir, "usr/sbin/perl6")))
	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "usr/bin/fifo"), 0o755))
	for name, target := range map[string]string{
		"bin": "usr/bin", "usr/bin/sh": "dash", "usr/bin/awk": root + "/etc/alternatives/awk",
		"etc/alternatives/awk": root + "/usr/bin/mawk", "usr/bin/dangling": "nowhere", "usr/bin/loop": "loop",
		"usr/bin/ld.so": "../../opt/lang/ld-linux.so.1",
	} {
		require.NoError(t, os.Symlink(target, filepath.Join(dir, name)))
	}
	if os.Geteuid() == 0 {
		require.NoError(t, os.Chown(filepath.Join(dir, "usr/bin/mawk"), 42, 43))
	}
	for _, name := range []string{"usr/bin/perl", "usr/bin/date"} {
		if err := unix.Setxattr(filepath.Join(dir, name), "user.origin", []byte(name), 0); err != unix.ENOTSUP {
			require.NoError(t, err)
		}
	}
	age(t, dir)
}

// overridden is a tree with a farm in which somebody has put his own links: in the place of a
// command's link, and in that of a directory's.
func overridden(t testing.TB, dir, root string) {
	tree(t, dir, root)
	farm := filepath.Join(dir, ownFarm, root)
	require.NoError(t, os.MkdirAll(filepath.Join(farm, "usr/bin"), 0o755))
	for name, target := range map[string]string{"usr/bin/date": "usr/sbin/date", "bin": "usr/local/bin"} {
		require.NoError(t, os.Symlink(filepath.Join(root, target), filepath.Join(farm, name)))
	}
	age(t, dir)
}

// ownFarm is such a farm.
const ownFarm = "opt/farm"

// age gives every file and directory its own time in the past, with nanoseconds.
func age(t testing.TB, dir string) {
	var paths []string
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		paths = append(paths, path)
		return err
	}))
	for n, path := range slices.Backward(paths) {
		at := unix.NsecToTimespec(1500000000123456789 + int64(n)*1e9)
		require.NoError(t, unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW))
	}
}

// bundle makes the bundle of the image at root, and restores the time of its directory.
func bundle(t testing.TB, root string) config.Config {
	before, err := os.Stat(root)
	require.NoError(t, err)
	dir := filepath.Join(root, "binproxy")
	require.NoError(t, os.Mkdir(dir, 0o755))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "lib"), 0o755))
	conf := "emulator aarch64 qemu-aarch64 lib/ld.so\n"
	if farm := filepath.Join(root, ownFarm); exists(farm) {
		conf += "farm " + farm + "\n"
	}
	for name, text := range map[string]string{
		config.Binary: "binproxy", "qemu-aarch64": "qemu", "lib/ld.so": "loader", "lib/libc.so": "libc",
		config.Name: conf,
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755))
	}
	require.NoError(t, os.Symlink("binproxy", filepath.Join(dir, "sh")))
	require.NoError(t, os.Symlink("binproxy", filepath.Join(dir, "uname")))
	require.NoError(t, os.Chtimes(root, time.Time{}, before.ModTime()))
	cfg, err := config.Load(dir)
	require.NoError(t, err)
	return cfg
}

func reload(t testing.TB, cfg config.Config) config.Config {
	cfg, err := config.Load(cfg.Dir)
	require.NoError(t, err)
	return cfg
}

// at returns the options for the tree at root.
func at(root string) Options {
	return Options{
		Paths: []string{root + "/bin", root + "/usr/local/bin"}, Shell: root + "/bin/sh",
		Path: strings.Join([]string{root + "/usr/local/bin", root + "/usr/sbin", root + "/usr/bin", root + "/bin", root + "/missing"}, ":"),
	}
}

// snapshotOf is the image without the bundle.
func snapshotOf(t testing.TB, root string) []string { return snapshot.Of(t, root, "/binproxy") }

// commands are the contents of the tree's commands by name: none may ever be lost.
var commands = map[string]string{
	"usr/bin/date": guest("date"), "bin/date": guest("date"), "bin/sh": guest("dash"), "bin/dash": guest("dash"), "usr/bin/perl": guest("perl"),
	"usr/bin/perl5": guest("perl"), "usr/bin/awk": guest("mawk"), "usr/bin/su": guest("su"), "usr/bin/new\nline": guest("newline"),
	"usr/bin/" + oddName: guest("odd"), "usr/sbin/date": guest("another date"), "opt/lang/lang": guest("lang"), "usr/sbin/perl6": guest("perl"),
}

// nothingLost checks that every command's file can be found, as a shim would find it.
func nothingLost(t testing.TB, cfg config.Config, root string) {
	t.Helper()
	r := Root{cfg.Self(), cfg.AllFarms()}
	for name, text := range commands {
		real, errno := r.Real(filepath.Join(root, name))
		require.Zero(t, errno, name)
		got, err := os.ReadFile(real)
		require.NoError(t, err, name)
		require.Equal(t, text, string(got), name)
	}
}

func fileTime(path string) time.Time {
	fi, err := os.Stat(path)
	if err != nil {
		return time.Time{}
	}
	return fi.ModTime()
}
