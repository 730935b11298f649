package uml

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"binproxy/emu/entrypoint"
	"binproxy/emu/sys"
	"binproxy/test/lib/fields"
)

func TestJob(t *testing.T) {
	j := job{
		Kernel: "/a kernel", Libs: []string{"/x", "/y"}, KernelArgs: []string{"a=b", ""}, Self: "/s", Root: "/", Binds: []string{"/s p", "/d", "rw"}, Mem: 64,
		MemDir: "/m", LayerDir: "/l", Trial: 1, Modules: []string{"m"}, Emulator: "/e", Helper: "/h", HelperLibs: []string{"/z"},
		Mode: modeOverlay, NoSuid: 1, Arch: "arm64", Net: "vec0", Hostname: "n", Argv: []string{"sh", "-c", "echo \"$x\"\n\xff"}, Env: []string{"A=\xfe\nB", "C="},
		Dir: "/d", Umask: 0o22, TTY: 7, Rows: 33, Cols: 101,
	}
	fields.Arrive(t, &j, new(job))
	text, err := entrypoint.Pack(&j)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "job")
	require.NoError(t, os.WriteFile(file, text, 0o600))
	var back job
	require.NoError(t, entrypoint.Unpack(file, &back))
	assert.Equal(t, j, back)
}

func TestUnescape(t *testing.T) {
	for escaped, want := range map[string]string{`/a\040b`: "/a b", `\134`: `\`, `/x\`: `/x\`, `\04`: `\04`, `\999`: `\999`, "": ""} {
		assert.Equal(t, want, sys.Unescape(escaped))
	}
}

func FuzzUnescape(f *testing.F) {
	f.Add(`/a\040b`)
	f.Fuzz(func(t *testing.T, s string) {
		escaped := strings.NewReplacer(`\`, `\134`, " ", `\040`, "\t", `\011`, "\n", `\012`).Replace(s)
		assert.Equal(t, s, sys.Unescape(escaped))
		sys.Unescape(s)
	})
}

func TestDependencies(t *testing.T) {
	const index = "kernel/a/fuse.ko:\nkernel/b/cuse.ko: kernel/a/fuse.ko\nkernel/c/c.ko: kernel/b/cuse.ko kernel/a/fuse.ko\n"
	assert.Equal(t, []string{"kernel/a/fuse.ko"}, dependencies(index, "fuse"))
	assert.Equal(t, []string{"kernel/a/fuse.ko", "kernel/b/cuse.ko", "kernel/c/c.ko"}, dependencies(index, "c"))
	assert.Nil(t, dependencies(index, "none"))
}

func TestReleases(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"6.12.117", "6.1.192", 1}, {"6.1", "6.1.1", -1}, {"6.12-rc3", "6.12-rc10", -1}, {"6.1", "6.1", 0}} {
		assert.Equal(t, c.want, compareReleases(c.a, c.b), "%s %s", c.a, c.b)
	}
}

func TestLogTail(t *testing.T) {
	l := &logTail{done: make(chan struct{})}
	l.follow(strings.NewReader(strings.Repeat("x\r\n", logSize) + "before\nKernel panic - not syncing: why\nCall Trace:\n more\n"))
	assert.Equal(t, "before\nKernel panic - not syncing: why", l.last(2))
	assert.LessOrEqual(t, len(l.text), 2*logSize+4096)
}

// TestFragment checks that allnoconfig accepts every line of the fragment.
func TestFragment(t *testing.T) {
	for line := range strings.Lines(string(fragment)) {
		assert.Regexp(t, `^(#.*|CONFIG_[A-Z0-9_]+=(y|"[a-z]+")|)\n$`, line)
	}
}

// TestLayer keeps a tree that any user can make, and restores it; owners, devices and attributes
// are tested in a guest.
func TestLayer(t *testing.T) {
	from, to, kept := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "kept")
	require.NoError(t, os.MkdirAll(filepath.Join(from, "d/e"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(from, "d/f"), []byte("text"), 0o400))
	require.NoError(t, os.Link(filepath.Join(from, "d/f"), filepath.Join(from, "d/link")))
	require.NoError(t, os.Symlink("/nowhere", filepath.Join(from, "soft")))
	require.NoError(t, unix.Mkfifo(filepath.Join(from, "d/fifo"), 0o600))
	require.NoError(t, os.Chmod(filepath.Join(from, "d/fifo"), 0o620))
	require.NoError(t, os.Chmod(filepath.Join(from, "d/e"), 0o555|os.ModeSticky))
	require.NoError(t, os.Chmod(from, 0o711))
	old := time.Unix(981173106, 5000)
	require.NoError(t, os.Chtimes(filepath.Join(from, "d"), old, old))
	require.NoError(t, writeLayer(from, kept))

	tree := filepath.Join(kept, "tree")
	text, err := os.ReadFile(filepath.Join(tree, "d/f"))
	require.NoError(t, err)
	assert.Equal(t, "text", string(text))
	assert.NoFileExists(t, filepath.Join(tree, "d/fifo"))
	require.NoError(t, os.WriteFile(filepath.Join(tree, "added"), []byte("by hand"), 0o644))
	require.NoError(t, os.Remove(filepath.Join(tree, "d/e")))

	require.NoError(t, readLayer(kept, to))
	for name, want := range map[string]os.FileMode{".": 0o711 | os.ModeDir, "d": 0o755 | os.ModeDir, "d/f": 0o400, "d/fifo": 0o620 | os.ModeNamedPipe, "added": 0o644} {
		fi, err := os.Stat(filepath.Join(to, name))
		require.NoError(t, err)
		assert.Equal(t, want, fi.Mode(), name)
	}
	assert.NoDirExists(t, filepath.Join(to, "d/e"), "taken away by hand")
	f, err := os.Stat(filepath.Join(to, "d/f"))
	require.NoError(t, err)
	link, err := os.Stat(filepath.Join(to, "d/link"))
	require.NoError(t, err)
	assert.True(t, os.SameFile(f, link))
	target, err := os.Readlink(filepath.Join(to, "soft"))
	require.NoError(t, err)
	assert.Equal(t, "/nowhere", target)
}

func TestAttributes(t *testing.T) {
	for _, a := range []attributes{
		{kind: "file", mode: 0o4711, uid: 5, gid: 6, name: "a b\n"}, {kind: "char", major: 1, minor: 3, mode: 0o666, name: "null"},
		{kind: "gone", name: "d/x"}, {kind: "dir", mode: 0o755, name: ".", xattrs: []string{"trusted.overlay.opaque", "y", "user.x", "\x00\xff\""}},
	} {
		got, err := parseAttributes(a.String())
		require.NoError(t, err)
		assert.Equal(t, a.String(), got.String())
		assert.Equal(t, a.name, got.name)
	}
	for _, line := range []string{"", "file", `file 0644 0:0`, `door 0644 0:0 "x"`, `file 9 0:0 "x"`, `file 0644 0 "x"`, `file 0644 0:0 "x" "y"`, `file 0644 0:0 x`, `char:1 0644 0:0 "x"`,
		`file 0644 0:0 "../x"`, `file 0644 0:0 "/x"`, `file 0644 0:0 "x""y" "z"`, `file 177777 0:0 "x"`} {
		_, err := parseAttributes(line)
		assert.Error(t, err, line)
	}
}

func FuzzAttributes(f *testing.F) {
	f.Add(`char:1:3 0666 0:0 "null" "user.x" "\x00"`)
	f.Fuzz(func(t *testing.T, line string) {
		a, err := parseAttributes(line)
		if err != nil {
			return
		}
		assert.True(t, filepath.IsLocal(a.name))
		again, err := parseAttributes(a.String())
		require.NoError(t, err)
		assert.Equal(t, a.String(), again.String())
	})
}
