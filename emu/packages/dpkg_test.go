package packages

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

func TestDpkg(t *testing.T) {
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
		o, err := Of(root).Owner(c.file, []string{"nothing", c.pkg}, abi)
		if c.want == "" {
			assert.ErrorIs(t, err, ErrUnknown, c.file)
			continue
		}
		require.NoError(t, err, c.file)
		assert.Equal(t, c.want, o.Version)
	}
	o, err := Of(root).Owner("/usr/bin/sed", []string{"sed"}, abi)
	require.NoError(t, err)
	assert.False(t, o.Genuine(strings.NewReader("another")))
	assert.Equal(t, "30e4e0a7b1bbc3a1b5a2fdcd3e0ba6c4", o.want)
}

// While dpkg works its status file is old, and the journal beside it has the changes since.
func TestDpkgAtWork(t *testing.T) {
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
			o, err := Of(debian(t, files)).Owner("/usr/bin/sed", []string{"sed"}, arch.Get("aarch64"))
			assert.Equal(t, c.want, o.Version)
			assert.Equal(t, c.want == "", err != nil)
		})
	}
}

func TestDebootstrap(t *testing.T) {
	root := debian(t, map[string]string{"debootstrap/debpaths": "dash /var/cache/apt/archives/dash_0.5.12-2_arm64.deb\ntar /x/tar_1%3a1.34+dfsg-1_arm64.deb\nsed /x/sed_4.8-1_arm64.deb\nodd /x/odd.deb\nhalf /x/half_1.0-1_all.deb\n", "var/lib/dpkg/info/half.list": "/usr/bin/half\n"})
	for _, c := range []struct{ file, pkg, want string }{
		{"/usr/bin/dash", "dash", "0.5.12-2"}, {"/usr/bin/tar", "tar", "1:1.34+dfsg-1"}, {"/usr/bin/sed", "sed", "4.9-1"}, {"/usr/bin/other", "sed", ""}, {"/usr/bin/odd", "odd", ""}, {"/usr/bin/none", "none", ""},
		{"/usr/bin/half", "half", "1.0-1"}, // unpacked by dpkg, but not in its status yet
	} {
		o, err := Of(root).Owner(c.file, []string{c.pkg}, arch.Get("aarch64"))
		assert.Equal(t, c.want, o.Version, c.file)
		assert.Equal(t, c.want == "", err != nil, c.file)
	}
}

// Several files at once, from any packages.
func TestOwnersByDpkg(t *testing.T) {
	owners, err := Of(debian(t, nil)).Owners([]string{"/usr/bin/sed", "/usr/bin/x", "/usr/bin/gone", "/usr/bin/none"}, arch.Get("aarch64"))
	require.NoError(t, err)
	assert.Equal(t, map[string]Owner{"/usr/bin/sed": {Package: "sed", Version: "4.9-1"}, "/usr/bin/x": {Package: "libx", Version: "2:2.0-1"}}, owners)
}

func FuzzStanza(f *testing.F) {
	f.Add(status)
	f.Fuzz(func(t *testing.T, text string) {
		if version, found := stanzaVersion(strings.NewReader(text), "sed", "arm64"); found {
			assert.NotContains(t, version, "\n")
			assert.Contains(t, text, "Package: sed")
		}
	})
}
