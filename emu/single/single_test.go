package single

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"binproxy/emu/arch"
	"binproxy/emu/config"
	"binproxy/emu/emulator"
	"binproxy/emu/identity"
)

var configured = config.Config{
	Identity: identity.Identity{Release: "5.4.0"},
	Emulators: []emulator.Emulator{
		{QEMU: "aarch64", Path: "qemu-aarch64"},
		{QEMU: "arm", Path: "qemu-arm"},
	},
}

const program = "the program\n"

// made writes a single file whose emulators are programs of this host, and gives its path.
func made(t *testing.T) string {
	dir := t.TempDir()
	self := filepath.Join(dir, "self")
	require.NoError(t, os.WriteFile(self, []byte(program), 0o755))
	var b bytes.Buffer
	sizes, err := Write(&b, self, configured, map[string]string{"qemu-aarch64": "/bin/true", "qemu-arm": "/bin/false"})
	require.NoError(t, err)
	require.Len(t, sizes, 4)
	require.Equal(t, int64(len(program)), sizes[0])
	path := filepath.Join(dir, "single")
	require.NoError(t, os.WriteFile(path, b.Bytes(), 0o755))
	return path
}

func TestRoundTrip(t *testing.T) {
	path := made(t)
	c, err := Own(path)
	require.NoError(t, err)
	assert.Equal(t, "5.4.0", c.Identity.Release)
	assert.Equal(t, configured.Emulators, c.Emulators)
	assert.Equal(t, filepath.Dir(path), c.Dir)

	// Each emulator is a program that can be executed but not changed, and is the same each time.
	for name, status := range map[string]int{"aarch64": 0, "armhf": 1} {
		e, err := c.Emulator(arch.Get(name))
		require.NoError(t, err)
		again, err := c.Emulator(arch.Get(name))
		require.NoError(t, err)
		assert.Equal(t, e, again)
		cmd := exec.Command(e.Path)
		_ = cmd.Run()
		require.NotNil(t, cmd.ProcessState, "%s starts", e.Path)
		assert.Equal(t, status, cmd.ProcessState.ExitCode())
		assert.ErrorIs(t, os.WriteFile(e.Path, []byte("other"), 0), unix.EPERM)
	}

	// CopyProgram gives the original program, from either of the two files.
	for _, from := range []string{path, filepath.Join(filepath.Dir(path), "self")} {
		var b bytes.Buffer
		n, err := CopyProgram(&b, from)
		require.NoError(t, err)
		assert.Equal(t, int64(len(program)), n)
		assert.Equal(t, program, b.String())
	}
}

// TestPlain: a program with nothing after it belongs to a bundle.
func TestPlain(t *testing.T) {
	dir := t.TempDir()
	self := filepath.Join(dir, config.Binary)
	for _, text := range []string{"", "short", strings.Repeat("long", 1000)} {
		require.NoError(t, os.WriteFile(self, []byte(text), 0o755))
		_, err := Own(self)
		require.Equal(t, ErrPlain, err)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, config.Name), []byte("release 4.4\n"), 0o644))
	c, err := Config(self)
	require.NoError(t, err)
	assert.Equal(t, "4.4", c.Identity.Release)
	_, err = Own(filepath.Join(dir, "missing"))
	require.ErrorIs(t, err, fs.ErrNotExist)
}

// TestDamaged: a wrong byte anywhere is found before it is used, and the error is one line that
// names the file.
func TestDamaged(t *testing.T) {
	path := made(t)
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	end := len(whole)
	for what, damage := range map[string]struct {
		at   int // from the end where it is negative
		want string
	}{
		"index size": {-5, "the index is said to be larger than it can be"},
		"index sum":  {-1, "the index is not what its sum says"},
		"index":      {-trailerSize - 4, "the index is not what its sum says"},
		"config":     {end - trailerSize - len(index(t, path)) - 3, "binproxy.conf is not what its sum says"},
		"emulator":   {len(program) + 100, "qemu-aarch64 is not what its sum says"},
	} {
		t.Run(what, func(t *testing.T) {
			text := bytes.Clone(whole)
			if damage.at < 0 {
				damage.at += end
			}
			text[damage.at] ^= 0x55
			bad := filepath.Join(t.TempDir(), "bad")
			require.NoError(t, os.WriteFile(bad, text, 0o755))
			c, err := Own(bad)
			if err == nil {
				_, err = c.Emulator(arch.Get("aarch64"))
			}
			require.ErrorIs(t, err, ErrDamaged)
			assert.ErrorContains(t, err, bad+" is damaged: "+damage.want)
			assert.NotContains(t, err.Error(), "\n")
		})
	}
}

// TestCut: a file without its end is not a single file; one that lacks something before the end is
// damaged.
func TestCut(t *testing.T) {
	path := made(t)
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, whole[:len(whole)-1], 0o755))
	_, err = Own(path)
	require.Equal(t, ErrPlain, err)
	require.NoError(t, os.WriteFile(path, whole[1:], 0o755))
	_, err = Own(path)
	require.ErrorContains(t, err, path+" is damaged: the parts are not those of the index")
}

// index is the index of the file at path.
func index(t *testing.T, path string) []byte {
	f, err := read(path)
	require.NoError(t, err)
	text := appendIndex(nil, f.parts)
	return text[:len(text)-trailerSize]
}

func TestIndexErrors(t *testing.T) {
	for _, text := range []string{
		"", "\n", "a", "a 1", "a 10 ", "a 10 x", " 10 0", "a -1 0", "a 11 0", "a 9 0", "a 10 0 0", "a 10 123456789",
		"a 9223372036854775807 0\nb 9223372036854775807 0", "a 10 0\nb 1 0",
	} {
		_, err := parseIndex([]byte(text), 10)
		assert.Error(t, err, "%q", text)
	}
}

// FuzzIndex: the parts of anything that counts as an index fill the file, and are written as they
// were read.
func FuzzIndex(f *testing.F) {
	f.Add([]byte("binproxy 6 0000002a\nqemu-arm 4 ffffffff\n"), int64(10))
	f.Add([]byte("a 0 0\n\n"), int64(0))
	f.Fuzz(func(t *testing.T, text []byte, begins int64) {
		parts, err := parseIndex(text, begins)
		if err != nil {
			return
		}
		var end int64
		for _, p := range parts {
			require.Equal(t, end, p.offset)
			require.GreaterOrEqual(t, p.size, int64(0))
			end += p.size
		}
		require.Equal(t, begins, end)
		again := appendIndex(nil, parts)
		size, _, ok := parseTrailer(again[len(again)-trailerSize:])
		require.True(t, ok)
		require.Equal(t, int64(len(again)-trailerSize), size)
		same, err := parseIndex(again[:size], begins)
		require.NoError(t, err)
		require.Equal(t, parts, same)
	})
}

// FuzzOwn: a file of any bytes is a plain program, or damaged, or a configuration.
func FuzzOwn(f *testing.F) {
	var b bytes.Buffer
	conf := configured.Marshal()
	out := writer{w: &b}
	out.add(config.Binary, func(summing io.Writer) error { _, err := summing.Write([]byte(program)); return err })
	out.add(config.Name, func(summing io.Writer) error { _, err := summing.Write(conf); return err })
	f.Add(appendIndex(b.Bytes(), out.parts))
	f.Add(appendIndex(nil, nil))
	f.Add(appendIndex(nil, []part{{name: config.Name}}))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "file")
		require.NoError(t, os.WriteFile(path, text, 0o644))
		if _, err := Own(path); err != nil && err != ErrPlain {
			require.ErrorIs(t, err, ErrDamaged)
		}
	})
}

func TestBuildKitNames(t *testing.T) {
	for name, want := range map[string]string{
		"aarch64": "buildkit-qemu-aarch64", "armhf": "buildkit-qemu-arm", "armel": "buildkit-qemu-arm", "i386": "buildkit-qemu-i386",
		"x86_64": "buildkit-qemu-x86_64", "ppc64le": "buildkit-qemu-ppc64le", "loongarch64": "buildkit-qemu-loong64",
		"mips64el": "buildkit-qemu-mips64le", "ppc64": "buildkit-qemu-ppc64", "alpha": "",
	} {
		assert.Equal(t, want, BuildKitName(arch.Get(name)), name)
	}
	for path, want := range map[string]bool{
		"/dev/.buildkit_qemu_emulator": true, "/usr/bin/buildkit-qemu-arm": true, "binproxy": false, "/dev/buildkit_qemu_emulator": false,
	} {
		assert.Equal(t, want, ForBuildKit(path), path)
	}
}
