package twin

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
	"binproxy/emu/packages"
)

// tree makes a root directory of files by their paths.
func tree(t *testing.T, files map[string]string) packages.RootFD {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o755))
	}
	root, done, err := packages.OpenRoot(dir)
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

func debian(t *testing.T, more map[string]string) packages.RootFD {
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

// judged is the reason in the verdict on /usr/bin/sed of a root; "" if it has its twin.
func judged(t *testing.T, root packages.RootFD, set *Set, file string, off ...string) string {
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
		return &Set{Vendor: "debian", Database: packages.Dpkg, Twins: []Twin{{Name: "sed", ABI: AnyABI, File: File{Version: version}}}}
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
		{"not in the database", noBase, set("9-1"), nil, "the guest's package database does not know it, and the file does not say that it is 9"},
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
	t.Run("a database that cannot be read", func(t *testing.T) {
		root := tree(t, map[string]string{"etc/os-release": "ID=debian\n", "usr/bin/sed": "x", "var/lib/rpm/Packages": strings.Repeat("x", 512)})
		assert.Equal(t, "the guest's package database /var/lib/rpm/Packages cannot be read: not a hash of Berkeley DB that can be read, and the file does not say that it is 4.9",
			judged(t, root, set("4.9-1"), "/usr/bin/sed"))
	})
	t.Run("a root that was opened anew", func(t *testing.T) {
		// an exec's descriptor of its root is closed when the exec is over
		root, m := debian(t, noSums), NewMatcher(set("4.9-1"), nil)
		first, done, err := packages.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", root))
		require.NoError(t, err)
		judge := func(ino uint64, root packages.Root) string {
			return m.Judge(Guest{ID: ID{Dev: 1, Ino: ino}, ABI: arch.Get("aarch64"), Path: "/usr/bin/sed", Root: root}).Why
		}
		assert.Empty(t, judge(2, first))
		done()
		assert.Empty(t, judge(3, root))
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
		assert.Equal(t, c.want, hasVersion(strings.NewReader(c.text), "4.9"), "%.20q", c.text)
	}
}
