package image

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// An archive is whole, whatever its last file is: that one's padding and tar's end are there. The
// second of two equal files is a link.
func TestArchiveIsWhole(t *testing.T) {
	files := fstest.MapFS{"a": {Data: []byte("same"), Mode: 0o755}, "b": {Data: []byte("same"), Mode: 0o755}, "c": {Data: []byte("x")}}
	archive, err := archived(files, time.Unix(1700000000, 0))
	require.NoError(t, err)
	assert.Zero(t, len(archive)%512)
	assert.True(t, bytes.HasSuffix(archive, make([]byte, 1024)))
	var seen []string
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		assert.Equal(t, int64(1700000000), h.ModTime.Unix())
		seen = append(seen, h.Name+" "+string(h.Typeflag)+" "+h.Linkname)
	}
	assert.Equal(t, []string{"a 0 ", "b 1 a", "c 0 "}, seen)
}
