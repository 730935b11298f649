package uml

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestJobRoundTrip(t *testing.T) {
	j := job{
		Kernel: "/a kernel", Libs: []string{"/x", "/y"}, KernelArgs: []string{"a=b", ""}, Root: "/", Binds: []string{"/s p", "/d", "rw"}, Mem: 64,
		Mode: modeOverlay, Argv: []string{"sh", "-c", "echo \"$x\"\n\x00\xff"}, Env: []string{"A=\xfe\nB", "C="}, Umask: 0o22, TTY: 7, Rows: 33, Cols: 101, NoSuid: 1,
	}
	var back job
	require.NoError(t, back.unmarshal(string(j.marshal())))
	assert.Equal(t, j, back)
}

func TestJobErrors(t *testing.T) {
	for text, want := range map[string]string{
		"mem \"x\"\n": "line 1", "kernel\n": "line 1", "mem \"1\"\nnone \"\"\n": "line 2", "root /\n": "line 1",
	} {
		assert.ErrorContains(t, new(job).unmarshal(text), want, text)
	}
}

func FuzzJob(f *testing.F) {
	f.Add("mem \"1\"\nargv \"a\\x00\"\n")
	f.Fuzz(func(t *testing.T, text string) {
		var j, again job
		if j.unmarshal(text) != nil {
			return
		}
		require.NoError(t, again.unmarshal(string(j.marshal())))
		assert.Equal(t, j, again)
	})
}

func TestUnescape(t *testing.T) {
	for escaped, want := range map[string]string{`/a\040b`: "/a b", `\134`: `\`, `/x\`: `/x\`, `\04`: `\04`, `\999`: `\999`, "": ""} {
		assert.Equal(t, want, unescape(escaped))
	}
}

func FuzzUnescape(f *testing.F) {
	f.Add(`/a\040b`)
	f.Fuzz(func(t *testing.T, s string) {
		escaped := strings.NewReplacer(`\`, `\134`, " ", `\040`, "\t", `\011`, "\n", `\012`).Replace(s)
		assert.Equal(t, s, unescape(escaped))
		unescape(s)
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

// TestFragment wants every line of the fragment to be one that allnoconfig takes.
func TestFragment(t *testing.T) {
	for line := range strings.Lines(string(fragment)) {
		assert.Regexp(t, `^(#.*|CONFIG_[A-Z0-9_]+=(y|"[a-z]+")|)\n$`, line)
	}
}

// TestLayer packs and unpacks a tree of what any user can make; devices and attributes are tested in a guest.
func TestLayer(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(from, "d/e"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(from, "d/f"), []byte("text"), 0o640))
	require.NoError(t, os.Link(filepath.Join(from, "d/f"), filepath.Join(from, "d/link")))
	require.NoError(t, os.Symlink("/nowhere", filepath.Join(from, "soft")))
	var b bytes.Buffer
	require.NoError(t, packLayer(&b, from))
	require.NoError(t, unpackLayer(&b, to))
	text, err := os.ReadFile(filepath.Join(to, "d/f"))
	require.NoError(t, err)
	assert.Equal(t, "text", string(text))
	a, err := os.Stat(filepath.Join(to, "d/f"))
	require.NoError(t, err)
	l, err := os.Stat(filepath.Join(to, "d/link"))
	require.NoError(t, err)
	assert.True(t, os.SameFile(a, l))
	assert.Equal(t, os.FileMode(0o640), a.Mode())
	target, err := os.Readlink(filepath.Join(to, "soft"))
	require.NoError(t, err)
	assert.Equal(t, "/nowhere", target)
}

func TestLayerLeadsNowhere(t *testing.T) {
	for _, h := range []tar.Header{
		{Name: "../out", Typeflag: tar.TypeDir, Mode: 0o755}, {Name: "/out", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "in", Typeflag: tar.TypeLink, Linkname: "../../out"},
	} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		require.NoError(t, w.WriteHeader(&h))
		require.NoError(t, w.Close())
		assert.ErrorContains(t, unpackLayer(&b, t.TempDir()), "out of the layer")
	}
}
