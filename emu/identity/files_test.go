package identity

import (
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNumbers(t *testing.T) {
	for release, want := range map[string]struct {
		code uint32
		ok   bool
	}{
		"4.15.0-112-generic": {0x040f00, true},
		"6.1.137":            {0x060189, true},
		"4.4.302-cip":        {0x0404ff, true}, // the last number stops at 255
		"6.1.0-18-amd64":     {0x060100, true},
		"6.18.44-fc-v669":    {0x06122c, true},
		"7":                  {0x070000, true},
		"5.4-rc3":            {0x050400, true},
		"5.x":                {0x050000, true},
		"generic":            {0, false},
		"":                   {0, false},
	} {
		code, ok := versionCode(release)
		require.Equal(t, want.ok, ok, release)
		require.Equal(t, want.code, code, release)
	}
}

func TestAbove(t *testing.T) {
	for _, test := range []struct {
		release, kernel string
		want            bool
	}{
		{"6.2.0", "6.1.137", true}, {"6.1.200", "6.1.137", false}, {"7.0", "6.18.1", true}, {"4.15.0-112-generic", "6.1.0", false},
		{"6.10", "6.9.1", true}, {"generic", "6.1", false}, {"6.1", "generic", false},
	} {
		require.Equal(t, test.want, Above(test.release, test.kernel), "%q %q", test.release, test.kernel)
	}
}

// note builds an ELF note.
func note(owner string, kind byte, desc string) []byte {
	b := append([]byte{byte(len(owner)), 0, 0, 0, byte(len(desc)), 0, 0, 0, kind, 0, 0, 0}, owner...)
	if kind == 1 && owner == "Linux\x00" { // LINUX_ELFNOTE_BUILD_SALT is 0x100
		b[8], b[9] = 0, 1
	}
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	b = append(b, desc...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func TestRewriteNotes(t *testing.T) {
	const linux = "Linux\x00"
	join := func(notes ...[]byte) []byte { return bytes.Join(notes, nil) }
	id := note("GNU\x00", 3, "01234567890123456789")
	xen := note("Xen\x00", 0, "\x01\x02\x03\x04")
	for _, test := range []struct {
		name       string
		have, want []byte
	}{
		{"nothing", nil, nil},
		{"version and others", join(id, note(linux, 0, "\x2c\x12\x06\x00"), xen), join(id, note(linux, 0, "\x00\x0f\x04\x00"), xen)},
		{"salt", note(linux, 1, "6.1.0-18-amd64.debian\x00"), note(linux, 1, "4.15.0-112-generic\x00\x00\x00\x00")},
		{"a salt that is too short", note(linux, 1, "6.1.0\x00"), note(linux, 1, "4.15.\x00")},
		{"an empty salt", note(linux, 1, "\x00"), note(linux, 1, "\x00")},
		{"cut off", note(linux, 0, "\x2c\x12\x06\x00")[:20], note(linux, 0, "\x2c\x12\x06\x00")[:20]},
		{"another size", note(linux, 0, "\x2c\x12\x06\x00\x00"), note(linux, 0, "\x2c\x12\x06\x00\x00")},
	} {
		got := bytes.Clone(test.have)
		changed := RewriteNotes(got, "4.15.0-112-generic")
		require.Equal(t, test.want, got, test.name)
		require.Equal(t, !bytes.Equal(test.have, test.want), changed, test.name)
	}
}

func FuzzRewriteNotes(f *testing.F) {
	f.Add(note("Linux\x00", 0, "\x2c\x12\x06\x00"), "4.15.0")
	f.Add(note("Linux\x00", 1, "6.1.0\x00"), "x")
	f.Fuzz(func(t *testing.T, b []byte, release string) {
		RewriteNotes(b, release)
		require.False(t, RewriteNotes(b, release), "once is enough")
	})
}

func TestBanner(t *testing.T) {
	kernel := Identity{Sysname: "Linux", Release: "6.1.0-18-amd64", Version: "#1 SMP Debian 6.1.76-1"}
	const truth = "Linux version 6.1.0-18-amd64 (x@y) (gcc (Debian 12.2.0) 12.2.0, GNU ld) #1 SMP Debian 6.1.76-1\n"
	for _, test := range []struct {
		configured  Identity
		truth, want string
	}{
		{Identity{Release: "4.15.0", Version: "#1 SMP"}, truth, "Linux version 4.15.0 (x@y) (gcc (Debian 12.2.0) 12.2.0, GNU ld) #1 SMP\n"},
		{Identity{Sysname: "Minux"}, truth, "Minux version 6.1.0-18-amd64 (x@y) (gcc (Debian 12.2.0) 12.2.0, GNU ld) #1 SMP Debian 6.1.76-1\n"},
		{Identity{Release: "4.15.0", Version: "#1 SMP"}, "Linux version 4.4.0 #1 SMP Sun Jan 10\n", "Linux version 4.15.0 #1 SMP\n"},
	} {
		require.Equal(t, test.want, string(test.configured.bannerOf(test.truth, kernel)))
	}
}

// TestFiles: each file shows the fields that it has, and a file that the kernel lacks is left out.
func TestFiles(t *testing.T) {
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	_, err := io.WriteString(w, "#\n# Automatically generated file; DO NOT EDIT.\n# Linux/x86 6.1.0 Kernel Configuration\n#\nCONFIG_BUILD_SALT=\"6.1.0-18\"\nCONFIG_X=y\n# CONFIG_Y is not set\n")
	require.NoError(t, err)
	require.NoError(t, w.Close())
	real := map[string]string{
		"/proc/sys/kernel/ostype": "Linux\n", "/proc/sys/kernel/hostname": "h\n", "/proc/sys/kernel/osrelease": "6\n", "/proc/sys/kernel/version": "#\n",
		"/proc/version": "?\n", "/proc/version_signature": "Ubuntu 6.8.0-31.31-generic 6.8.1\n", "/sys/kernel/notes": "", "/proc/config.gz": z.String(),
	}
	read := func(path string) ([]byte, error) {
		text, ok := real[path]
		if !ok {
			return nil, fs.ErrNotExist
		}
		return []byte(text), nil
	}
	texts := func(i Identity) map[string]string {
		all := map[string]string{}
		for _, f := range i.Files(read) {
			text, err := f.Text()
			if err != nil {
				require.ErrorIs(t, err, fs.ErrNotExist)
				continue
			}
			all[f.Path] = string(text)
		}
		return all
	}
	require.Empty(t, texts(Identity{}))
	require.Equal(t, map[string]string{"/proc/sys/kernel/hostname": "n\n"}, texts(Identity{Nodename: "n"}))
	require.Empty(t, texts(Identity{Machine: "armv7l"}), "this kernel has no /proc/sys/kernel/arch")

	got := texts(Identity{Release: "4.15.0-112-generic"})
	require.Equal(t, "4.15.0-112-generic\n", got["/proc/sys/kernel/osrelease"])
	require.Equal(t, "Ubuntu 4.15.0-112-generic 4.15.0\n", got["/proc/version_signature"])
	unzipped, err := gzip.NewReader(bytes.NewReader([]byte(got["/proc/config.gz"])))
	require.NoError(t, err)
	text, err := io.ReadAll(unzipped)
	require.NoError(t, err)
	require.Equal(t, "#\n# Automatically generated file; DO NOT EDIT.\n# Linux/x86 4.15.0-112-generic Kernel Configuration\n#\nCONFIG_BUILD_SALT=\"4.15.0-112-generic\"\nCONFIG_X=y\n# CONFIG_Y is not set\n", string(text))
	require.Contains(t, got, "/proc/version")
	require.Contains(t, got, "/sys/kernel/notes")
	require.NotContains(t, got, "/proc/sys/kernel/version", "it is not set")
}

func TestParseProc(t *testing.T) {
	for text, want := range map[string]Proc{"": ProcAuto, "auto": ProcAuto, "trace": ProcTrace, "no": ProcNo} {
		p, err := ParseProc(text)
		require.NoError(t, err)
		require.Equal(t, want, p)
	}
	_, err := ParseProc("yes")
	require.ErrorContains(t, err, "auto, trace or no")
}

func TestKernelMounts(t *testing.T) {
	const table = `22 28 0:20 / /proc rw,nosuid shared:13 - proc proc rw
23 28 0:21 / /sys rw - sysfs sysfs rw
24 22 0:20 /sys /proc/sys ro - proc proc rw
25 22 0:40 / /proc/sys/fs/binfmt_misc rw shared:5 master:1 - autofs systemd-1 rw
90 28 0:50 / /srv/a\040root/proc rw - proc none rw
91 28 8:1 / / rw - ext4 /dev/sda1 rw
nonsense
`
	require.Equal(t, []kernelMount{{"/proc", "/proc"}, {"/sys", "/sys"}, {"/srv/a root/proc", "/proc"}}, kernelMounts(table))
	own, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	require.Contains(t, kernelMounts(string(own)), kernelMount{"/proc", "/proc"})
}

func FuzzKernelMounts(f *testing.F) {
	f.Add("22 28 0:20 / /proc rw - proc proc rw\n")
	f.Add(`22 28 0:20 / /a\04 rw - proc proc rw`)
	f.Fuzz(func(t *testing.T, table string) {
		for _, m := range kernelMounts(table) {
			require.LessOrEqual(t, len(m.at), len(table))
		}
	})
}

// What stored makes is a gzip file, on either side of a block's length.
func TestStored(t *testing.T) {
	for _, n := range []int{0, 1, 0xfffe, 0xffff, 0x10000, 0x1ffff, 300_000} {
		want := bytes.Repeat([]byte("CONFIG_X=y\n"), n/11+1)[:n]
		z, err := gzip.NewReader(bytes.NewReader(stored(want)))
		require.NoError(t, err)
		got, err := io.ReadAll(z)
		require.NoError(t, err, n)
		require.True(t, bytes.Equal(want, got), n)
	}
}
