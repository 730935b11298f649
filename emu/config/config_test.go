package config

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
	"binproxy/emu/emulator"
	"binproxy/emu/identity"
)

func bundle(t *testing.T, text string) string {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, Name), []byte(text), 0o644))
	return dir
}

func TestLoad(t *testing.T) {
	dir := bundle(t, `# a comment

release 4.15.0-112-generic
release 5.4.0
version #1 SMP  two spaces
sysname Linux
nodename box
machine armv7l
emulator aarch64 qemu-aarch64
emulator arm qemu-arm lib/ld-linux-x86-64.so.2
farm /opt/a farm
farm /opt/b
only container
elf what-the-hook-reads
`)
	c, err := Load(dir)
	require.NoError(t, err)
	want := Config{
		Dir:           dir,
		Identity:      identity.Identity{Sysname: "Linux", Nodename: "box", Release: "5.4.0", Version: "#1 SMP  two spaces", Machine: "armv7l"},
		Emulators:     []emulator.Emulator{{QEMU: "aarch64", Path: "qemu-aarch64"}, {QEMU: "arm", Path: "qemu-arm", Loader: "lib/ld-linux-x86-64.so.2"}},
		Farms:         []string{"/opt/a farm", "/opt/b"},
		OnlyContainer: true,
	}
	require.Equal(t, want, c)

	require.NoError(t, c.Save())
	again, err := Load(dir)
	require.NoError(t, err)
	require.Equal(t, want, again)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1, "nothing is left of the saving")
	require.Equal(t, []string{dir + "/farm", "/opt/a farm", "/opt/b"}, c.AllFarms())
}

// The exec hook's lines follow from the emulators: each header once, and the host's never.
func TestHeaders(t *testing.T) {
	c := Config{Emulators: []emulator.Emulator{{QEMU: "arm", Path: "qemu-arm", Loader: "lib/ld.so"}, {QEMU: arch.Host().QEMU, Path: "qemu-host"}, {QEMU: "s390x", Path: "qemu-s390x"}}}
	require.Contains(t, string(c.Marshal()), "\nelf ababciaa qemu-arm lib/ld.so\nelf acacaabg qemu-s390x\n")
	require.Equal(t, 2, strings.Count(string(c.Marshal()), "\nelf "))
}

func TestNoFile(t *testing.T) {
	dir := t.TempDir()
	c, err := Load(dir)
	require.NoError(t, err)
	require.Equal(t, Config{Dir: dir}, c)
	require.NoError(t, os.Mkdir(filepath.Join(dir, Name), 0o755))
	_, err = Load(dir)
	require.Error(t, err, "a file that is there and cannot be read is not passed over")
}

func TestErrors(t *testing.T) {
	tests := []struct{ text, complaint string }{
		{"release", `line 1: "release" has no value`},
		{"release \n", `line 1: "release" has no value`},
		{"\n# x\nreleese 5", `line 3: unknown key "releese"`},
		{"emulator arm", "an emulator has an architecture, a path, and perhaps a loader"},
		{"emulator a b c d", "an emulator has"},
		{"only host", `only "host"`},
		{"release 5.4\r\n", "control character"},
		{"release " + strings.Repeat("5", 65), "has 65 bytes"},
	}
	for _, test := range tests {
		dir := bundle(t, test.text)
		_, err := Load(dir)
		require.ErrorContains(t, err, test.complaint, "%q", test.text)
		require.ErrorContains(t, err, filepath.Join(dir, Name), "the error names the file")
	}
}

func TestSaveRefuses(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []Config{
		{Dir: dir, Farms: []string{"/a\nrelease 1"}},
		{Dir: dir, Farms: []string{""}},
		{Dir: dir, Emulators: []emulator.Emulator{{QEMU: "arm", Path: "my emulator"}}},
		{Dir: dir, Emulators: []emulator.Emulator{{QEMU: "arm"}}},
		{Dir: dir, Identity: identity.Identity{Release: "5\n4"}},
	} {
		require.Error(t, c.Save(), "%+v", c)
	}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries)
}

func TestEmulator(t *testing.T) {
	t.Setenv("PATH", "relative:/nowhere")
	arm, aarch64 := arch.Get("armhf"), arch.Get("aarch64")
	c := Config{Dir: t.TempDir(), Emulators: []emulator.Emulator{{QEMU: "arm", Path: "qemu-arm", Loader: "lib/ld.so"}}}
	e, err := c.Emulator(arm)
	require.NoError(t, err)
	require.Equal(t, emulator.Emulator{QEMU: "arm", Path: c.Dir + "/qemu-arm", Loader: c.Dir + "/lib/ld.so"}, e)
	require.True(t, c.Names(arm))
	require.False(t, c.Names(aarch64))

	_, err = c.Emulator(aarch64)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, "qemu-aarch64-static and qemu-aarch64 in "+c.Dir+", relative, /nowhere; ")
	require.NoError(t, os.WriteFile(c.Dir+"/qemu-aarch64", nil, 0o755))
	e, err = c.Emulator(aarch64)
	require.NoError(t, err)
	require.Equal(t, emulator.Emulator{QEMU: "aarch64", Path: c.Dir + "/qemu-aarch64"}, e)
}

// A bundle's emulator runs programs that the host could run itself, but never those of the host's
// own ABI.
func TestGuest(t *testing.T) {
	host := arch.Host()
	none, all := Config{}, Config{}
	for _, abi := range arch.All() {
		all.Emulators = append(all.Emulators, emulator.Emulator{QEMU: abi.QEMU, Path: "x"})
	}
	for _, abi := range arch.All() {
		require.Equal(t, !abi.Native(host), none.Guest(abi), abi.Name)
		require.Equal(t, abi != host && (abi.QEMU != "" || !abi.Native(host)), all.Guest(abi), abi.Name)
	}
}

// TestTruthful: "only container" shows nothing where there is no sign of a container. The
// environment is enough for such a sign.
func TestTruthful(t *testing.T) {
	inside := func(name string) string { return map[string]string{"container": "oci"}[name] }
	outside := func(string) string { return "" }
	require.False(t, Config{}.Truthful(outside))
	require.False(t, Config{OnlyContainer: true}.Truthful(inside))
	require.Equal(t, !identity.InContainer("/", outside), Config{OnlyContainer: true}.Truthful(outside))
}

// FuzzLoad: a file that can be read can be written, and then reads the same.
func FuzzLoad(f *testing.F) {
	f.Add("release 5.4.0\nemulator arm qemu-arm\nfarm /opt/farm\nonly container\n")
	f.Add("emulator a\u00a0b c\n\n# x\nversion  #1 \n")
	f.Add("farm  \nnodename \xff\nonly container\nonly container")
	f.Fuzz(func(t *testing.T, text string) {
		var c, again Config
		if c.Parse(text) != nil {
			return
		}
		require.NoError(t, c.Check())
		require.NoError(t, again.Parse(string(c.Marshal())))
		require.Equal(t, c, again)
	})
}
