package images

import (
	"archive/tar"
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
	"binproxy/emu/elfinfo/tiny"
)

// Agreed is an image that every reader of images has to treat alike.
type Agreed struct {
	Name  string
	Image []byte // an archive, of an image for arm64
	Says  string // the error; "" if it has the program bin/p and nothing else
}

// AllAgreed lists them.
func AllAgreed(t testing.TB) []Agreed {
	t.Helper()
	p := Tar(t, Entry{Name: "bin/p", Body: tiny.Program(arch.Get("aarch64"))})
	layer := Entry{Name: "1/layer.tar", Body: p}
	xz, bzip2 := []byte("\xfd7zXZ\x00\x00\x04\xe6\xd6\xb4\x46"), []byte("BZh91AY&SY")
	l := Layout{}
	plain := l.Index(l.Image("arm64", p, l.Add)).Tar(t)
	long := Layout{}
	damaged := Layout{}
	damaged.Index(damaged.Image("arm64", p, damaged.Add))
	for name, blob := range damaged {
		if blob == string(p) {
			damaged[name] += strings.Repeat("\x00", 512)
		}
	}
	return []Agreed{
		{"a layout", plain, ""},
		{"a layout, gzip", Gzip(t, plain), ""},
		{"a layout, zstd", Zstd(t, plain), ""},
		{"a saved image", Saved(t, p), ""},
		{"layers packed with gzip and zstd", Saved(t, Gzip(t, p), Zstd(t, p)), ""},
		{"digests of sha512", long.Index(long.Image("arm64", p, long.Add512)).Tar(t), ""},
		{"a layer that is a link to one behind it", Tar(t, append(manifest("2/layer.tar"),
			Entry{Name: "2/layer.tar", SymLink: "../1/layer.tar"}, layer)...), ""},
		{"a layer that is a hard link", Tar(t, append(manifest("2/layer.tar"),
			layer, Entry{Name: "2/layer.tar", HardLink: "1/layer.tar"})...), ""},
		{"a layer that is a link to a link", Tar(t, append(manifest("3/layer.tar"),
			Entry{Name: "3/layer.tar", SymLink: "../2/layer.tar"}, Entry{Name: "2/layer.tar", SymLink: "../1/layer.tar"}, layer)...), ""},
		{"a layer that is a link to itself", Tar(t, append(manifest("1/layer.tar"),
			Entry{Name: "1/layer.tar", SymLink: "layer.tar"})...), "more than 8 links in a row"},
		{"a layer that is a link out", Tar(t, append(manifest("1/layer.tar"),
			Entry{Name: "1/layer.tar", SymLink: "../../x"})...), "1/layer.tar: file does not exist in the archive"},
		{"a layer in a place outside", Tar(t, manifest("../../x")...), "../../x: file does not exist in the archive"},
		{"an archive, xz", xz, "it is compressed with xz, which is not read: pack it with gzip or zstd, or not at all"},
		{"an archive, bzip2", bzip2, "it is compressed with bzip2"},
		{"a layer, xz", Saved(t, xz), "it is compressed with xz"},
		{"an archive, zstd, cut off", Zstd(t, plain)[:200], "zstd: "},
		{"a layer, gzip, cut off", Saved(t, Gzip(t, p)[:100]), "unexpected EOF"},
		{"a damaged layer", damaged.Tar(t), "its digest is "},
		{"a layer of 257 GiB", Saved(t, huge(t, 257)), "it unpacks to more than 256 GiB"},
		{"a name that leads out", Saved(t, Tar(t, Entry{Name: "a/../../p"})), `"a/../../p" leads out`},
		{"a hard link that leads out", Saved(t, Tar(t, Entry{Name: "p"}, Entry{Name: "q", HardLink: "../p"})), `"../p" leads out`},
		{"a whiteout of nothing", Saved(t, Tar(t, Entry{Name: "d/.wh."})), `"d/.wh." is a whiteout of nothing`},
	}
}

// huge is an archive that claims a file of that many GiB, and ends.
func huge(t testing.TB, size int64) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, tar.NewWriter(&b).WriteHeader(&tar.Header{Name: "huge", Typeflag: tar.TypeReg, Size: size << 30}))
	return b.Bytes()
}
