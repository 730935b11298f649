package twin

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
)

// tree makes a root directory of files by their paths.
func tree(t *testing.T, files map[string]string) RootFD {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o755))
	}
	root, done, err := OpenRoot(dir)
	require.NoError(t, err)
	t.Cleanup(done)
	return root
}

const (
	status = `Package: sed
Status: install ok installed
Architecture: arm64
Version: 4.9-1

Package: gone
Status: deinstall ok config-files
Architecture: arm64
Version: 1

Package: libx
Status: install ok unpacked
Architecture: armhf
Version: 1-1

Package: libx
Status: install ok installed
Architecture: arm64
Description: of more
 lines than one
 Version: 0
Version: 2:2.0-1`
	sedText = "a program\x00with 4.9\x00in it"
)

func debian(t *testing.T, more map[string]string) RootFD {
	files := map[string]string{
		"etc/os-release":                    "NAME=x\nID=debian\n",
		"var/lib/dpkg/status":               status,
		"var/lib/dpkg/info/sed.list":        "/.\n/bin\n/bin/sed\n",
		"var/lib/dpkg/info/sed.md5sums":     "5e0cc7e0d4b9a4ea03d38a5d4d8dc2b5  bin/other\n30e4e0a7b1bbc3a1b5a2fdcd3e0ba6c4  bin/sed\n",
		"var/lib/dpkg/info/gone.list":       "/usr/bin/gone\n",
		"var/lib/dpkg/info/libx:arm64.list": "/usr/bin/x\n",
		"usr/bin/sed":                       sedText,
	}
	for name, text := range more {
		files[name] = text
	}
	return tree(t, files)
}

func TestAskDpkg(t *testing.T) {
	root := debian(t, nil)
	abi := arch.Get("aarch64")
	for _, c := range []struct{ file, pkg, want string }{
		{"/usr/bin/sed", "sed", "4.9-1"}, // the list has it in /bin
		{"/bin/sed", "sed", "4.9-1"},
		{"/usr/bin/x", "libx", "2:2.0-1"},
		{"/usr/bin/gone", "gone", ""},
		{"/usr/bin/sed", "libx", ""},
		{"/usr/bin/none", "none", ""},
	} {
		o, err := ask(root, dpkg, c.file, []string{"nothing", c.pkg}, abi)
		if c.want == "" {
			assert.ErrorIs(t, err, errUnknown, c.file)
			continue
		}
		require.NoError(t, err, c.file)
		assert.Equal(t, c.want, o.version)
	}
	o, err := ask(root, dpkg, "/usr/bin/sed", []string{"sed"}, abi)
	require.NoError(t, err)
	assert.False(t, o.genuine(strings.NewReader("another")))
	assert.Equal(t, "30e4e0a7b1bbc3a1b5a2fdcd3e0ba6c4", o.want)
}

// While dpkg works its status file is old, and the journal beside it says what has changed since.
func TestAskDpkgAtWork(t *testing.T) {
	stanza := func(state, version string) string {
		return "Package: sed\nStatus: install ok " + state + "\nArchitecture: arm64\nVersion: " + version + "\n"
	}
	for _, c := range []struct {
		name    string
		journal map[string]string
		want    string
	}{
		{"unpacked", map[string]string{"0000": stanza("half-installed", "4.9-1"), "0001": stanza("unpacked", "4.10-1")}, "4.10-1"},
		{"in between", map[string]string{"0002": stanza("unpacked", "4.8-1"), "0010": stanza("half-installed", "4.9-1")}, ""},
		{"removed", map[string]string{"0000": stanza("config-files", "4.9-1")}, ""},
		{"another package", map[string]string{"0000": strings.Replace(stanza("unpacked", "1"), "sed", "sedd", 1)}, "4.9-1"},
		{"another architecture", map[string]string{"0000": strings.Replace(stanza("unpacked", "1"), "arm64", "armhf", 1)}, "4.9-1"},
		{"not yet valid", map[string]string{"tmp.i": stanza("unpacked", "5")}, "4.9-1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := map[string]string{}
			for name, text := range c.journal {
				files["var/lib/dpkg/updates/"+name] = text
			}
			o, err := ask(debian(t, files), dpkg, "/usr/bin/sed", []string{"sed"}, arch.Get("aarch64"))
			assert.Equal(t, c.want, o.version)
			assert.Equal(t, c.want == "", err != nil)
		})
	}
}

func TestAskDebootstrap(t *testing.T) {
	root := debian(t, map[string]string{"debootstrap/debpaths": "dash /var/cache/apt/archives/dash_0.5.12-2_arm64.deb\ntar /x/tar_1%3a1.34+dfsg-1_arm64.deb\nsed /x/sed_4.8-1_arm64.deb\nodd /x/odd.deb\nhalf /x/half_1.0-1_all.deb\n", "var/lib/dpkg/info/half.list": "/usr/bin/half\n"})
	for _, c := range []struct{ file, pkg, want string }{
		{"/usr/bin/dash", "dash", "0.5.12-2"}, {"/usr/bin/tar", "tar", "1:1.34+dfsg-1"}, {"/usr/bin/sed", "sed", "4.9-1"}, {"/usr/bin/other", "sed", ""}, {"/usr/bin/odd", "odd", ""}, {"/usr/bin/none", "none", ""},
		{"/usr/bin/half", "half", "1.0-1"}, // unpacked by dpkg, whose status does not tell yet
	} {
		o, err := ask(root, dpkg, c.file, []string{c.pkg}, arch.Get("aarch64"))
		assert.Equal(t, c.want, o.version, c.file)
		assert.Equal(t, c.want == "", err != nil, c.file)
	}
}

const installed = `P:busybox
V:1.36.1-r5
F:bin
R:busybox
a:0:0:755
Z:Q1AAAAAAAAAAAAAAAAAAAAAAAAAAA=
R:bbsuid

P:sed
V:4.9-r2
F:bin
R:sed
a:0:0:755
Z:Q12jmj7l5rSw0yVb/vlWAYkK/YBwk=

P:grep
V:3.11-r0
F:usr/bin
R:grep
`

func TestAskApk(t *testing.T) {
	root := tree(t, map[string]string{"lib/apk/db/installed": installed})
	assert.Equal(t, apk, DatabaseOf(root))
	o, err := ask(root, apk, "/bin/sed", []string{"sed"}, nil)
	require.NoError(t, err)
	assert.Equal(t, "4.9-r2", o.version)
	assert.True(t, o.genuine(strings.NewReader("")), "the checksum is that of nothing")
	assert.False(t, o.genuine(strings.NewReader("x")))
	o, err = ask(root, apk, "/usr/bin/grep", []string{"grep"}, nil)
	require.NoError(t, err)
	assert.Equal(t, "3.11-r0", o.version)
	_, err = ask(root, apk, "/bin/busybox", []string{"sed"}, nil)
	assert.ErrorIs(t, err, errUnknown)
	o, err = ask(root, apk, "/bin/busybox", nil, nil)
	require.NoError(t, err)
	assert.Equal(t, "busybox", o.pkg)
}

func FuzzReadApk(f *testing.F) {
	f.Add(installed)
	f.Fuzz(func(t *testing.T, text string) { _, _ = readApk(strings.NewReader(text), "/bin/sed", []string{"sed"}) })
}

// judged is the verdict's reason on /usr/bin/sed of a root; "" where it has its twin.
func judged(t *testing.T, root RootFD, set *Set, file string, off ...string) string {
	t.Helper()
	f, err := root.Open(file)
	require.NoError(t, err)
	defer f.Close()
	fi, err := f.Stat()
	require.NoError(t, err)
	m := NewMatcher(set, off)
	id := ID{Dev: 1, Ino: 2, Size: fi.Size()}
	assert.Nil(t, m.Known(id))
	v := m.Judge(Guest{ID: id, ABI: arch.Get("aarch64"), Path: file, File: f, Root: root})
	assert.Same(t, v, m.Known(id))
	if v.Rule == nil {
		return "no rule"
	}
	assert.Equal(t, v.Twin == nil, v.Why != "")
	return v.Why
}

func TestJudge(t *testing.T) {
	set := func(version string) *Set {
		return &Set{Vendor: "debian", Database: dpkg, Twins: []Twin{{Name: "sed", ABI: AnyABI, File: File{Version: version}}}}
	}
	noSums := map[string]string{"var/lib/dpkg/info/sed.md5sums": ""}
	noBase := map[string]string{"var/lib/dpkg/info/sed.list": "", "var/lib/dpkg/info/sed.md5sums": ""}
	with := func(files map[string]string, name, text string) map[string]string {
		all := map[string]string{name: text}
		for n, x := range files {
			all[n] = x
		}
		return all
	}
	for _, c := range []struct {
		name  string
		files map[string]string
		set   *Set
		off   []string
		want  string
	}{
		{"the same", noSums, set("4.9-1"), nil, ""},
		{"another revision", noSums, set("4.9-2+deb13u1"), nil, ""},
		{"another version", noSums, set("4.8-1"), nil, "the guest's is 4.9, the twin is 4.8"},
		{"a changed file", nil, set("4.9-1"), nil, "it is not the file that package sed brought"},
		{"not in the database, but it tells", noBase, set("4.9-1"), nil, ""},
		{"not in the database", noBase, set("9-1"), nil, "the guest's package database does not know it, and it does not tell that it is 9"},
		{"off", noSums, set("4.9-1"), []string{"sed"}, "switched off"},
		{"another distribution", with(noSums, "etc/os-release", "ID=ubuntu\n"), set("4.9-1"), nil, `the guest is "ubuntu", the twins are of "debian"`},
		{"a preloaded library", with(noSums, "etc/ld.so.preload", "/x.so\n"), set("4.9-1"), nil, "the guest has an /etc/ld.so.preload"},
		{"an empty list of them", with(noSums, "etc/ld.so.preload", "\n# none\n"), set("4.9-1"), nil, ""},
		{"nothing packed", noSums, &Set{Vendor: "debian"}, nil, "no twin of it is packed"},
		{"no set", noSums, nil, nil, "no twins are given"},
	} {
		t.Run(c.name, func(t *testing.T) {
			assert.Equal(t, c.want, judged(t, debian(t, c.files), c.set, "/usr/bin/sed", c.off...))
		})
	}
	t.Run("users", func(t *testing.T) {
		root := debian(t, map[string]string{"usr/bin/ls": "x", "etc/nsswitch.conf": "passwd: files systemd\n"})
		assert.Equal(t, "the guest's nsswitch.conf names more than files", judged(t, root, set("1"), "/usr/bin/ls"))
	})
	t.Run("no rule", func(t *testing.T) {
		root := debian(t, map[string]string{"usr/bin/perl": "x"})
		assert.Equal(t, "no rule", judged(t, root, set("1"), "/usr/bin/perl"))
	})
}

func TestTells(t *testing.T) {
	long := strings.Repeat("x", 64<<10-2)
	for _, c := range []struct {
		text string
		want bool
	}{
		{"sed 4.9\x00", true}, {"\x004.9\x00", true}, {"4.9\x00", false}, {"14.9\x00", false}, {"1.4.9\x00", false}, {" 4.9.1\x00", false}, {" 4.9", false},
		{"", false}, {long + " 4.9\x00", true}, {long + "  4.9\x00", true}, {long + "   4.9\x00", true}, {long + "14.9\x00 4.9\x00", true},
	} {
		assert.Equal(t, c.want, tells(strings.NewReader(c.text), "4.9"), "%.20q", c.text)
	}
}
