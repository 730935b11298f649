package release

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Where there is no apk: the package is what apk's format asks for. It is two gzip members, each
// with tar's records; the first has .PKGINFO, which names the second's sum; together they are one
// tar archive. Each file of the second has its sum.
func TestAPKForm(t *testing.T) {
	members, packed := gzipMembers(t, file(t, ".apk"))
	require.Len(t, members, 2)
	control, data := headers(t, members[0], false), headers(t, members[1], true)
	info := control[".PKGINFO"].text
	assert.Contains(t, info, "pkgname = binproxy\n")
	assert.Contains(t, info, "pkgver = 9.8.7_rc1\n")
	assert.Contains(t, info, fmt.Sprintf("datahash = %x\n", sha256.Sum256(packed[1])))
	program := data["usr/bin/binproxy"]
	assert.Equal(t, int64(0o755), program.Mode)
	for name, f := range data {
		if f.Typeflag == tar.TypeReg {
			assert.Len(t, f.PAXRecords["APK-TOOLS.checksum.SHA1"], 40, name)
		}
	}
}

type entry struct {
	*tar.Header
	text string
}

// gzipMembers splits a file at the members of gzip, and gives them unpacked and packed.
func gzipMembers(t *testing.T, path string) (members, packed [][]byte) {
	t.Helper()
	all, err := os.ReadFile(path)
	require.NoError(t, err)
	source := bytes.NewReader(all)
	buffered := bufio.NewReader(source)
	at := func() int { return len(all) - source.Len() - buffered.Buffered() }
	z, err := gzip.NewReader(buffered)
	require.NoError(t, err)
	for start := 0; ; start = at() {
		if start > 0 {
			if err := z.Reset(buffered); errors.Is(err, io.EOF) {
				return members, packed
			}
		}
		z.Multistream(false)
		text, err := io.ReadAll(z)
		require.NoError(t, err)
		members, packed = append(members, text), append(packed, all[start:at()])
	}
}

// headers reads an archive. Only the last one has tar's end.
func headers(t *testing.T, archive []byte, last bool) map[string]entry {
	t.Helper()
	found := map[string]entry{}
	assert.Equal(t, last, bytes.HasSuffix(archive, make([]byte, 1024)), "tar's end")
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return found
		}
		require.NoError(t, err)
		text, err := io.ReadAll(r)
		require.NoError(t, err)
		found[strings.TrimPrefix(h.Name, "/")] = entry{h, string(text)}
	}
}
