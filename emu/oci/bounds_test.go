package oci

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/test/images"
)

// A stream of the maximum size ends normally; one more byte is an error, not an end.
func TestLimited(t *testing.T) {
	for text, large := range map[string]bool{"": false, "123": false, "1234": false, "12345": true, "123456789": true} {
		for _, c := range []struct {
			packed, most int64
			want         error
		}{
			{0, freely, tooLarge{forItsSize: true}},
			{10, freely + 10*maxRatio, tooLarge{forItsSize: true}},
			{1 << 40, maxUnpacked, tooLarge{}},
		} {
			got, err := io.ReadAll(&limited{strings.NewReader(text), &counted{bytes: c.packed}, c.most - 4})
			if large {
				assert.Equal(t, c.want, err, text)
				continue
			}
			assert.NoError(t, err)
			assert.Equal(t, text, string(got))
		}
	}
	assert.EqualError(t, tooLarge{}, "it unpacks to more than 256 GiB, the most that is read")
}

// The layers of an image share their limits.
func TestWork(t *testing.T) {
	of := func(size int64) Entry { return Entry{Header: &tar.Header{Size: size}, Path: "x"} }
	w := &work{}
	assert.NoError(t, w.add(of(maxUnpacked-1)))
	assert.NoError(t, w.add(of(1)))
	assert.Equal(t, tooLarge{}, w.add(of(1)))
	assert.Equal(t, tooLarge{}, w.add(of(math.MaxInt64)))
	w = &work{kept: keptFreely}
	assert.ErrorContains(t, w.add(of(0)), "the image has more files, or longer names, than one of 0 bytes has")
	w.packed = 1 << 20
	assert.NoError(t, w.add(of(0)))
	w = &work{kept: maxKept, packed: 1 << 40}
	assert.ErrorContains(t, w.add(of(0)), "the image has more files")
}

// zstdOfZeros is a frame that unpacks to that many zeros: four bytes for each 128 KiB.
func zstdOfZeros(size int) []byte {
	b := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 7 << 3} // a window of 128 KiB
	for at := 0; at < size; at += 128 << 10 {
		// of the kind that repeats a byte
		block := binary.LittleEndian.AppendUint32(nil, 128<<10<<3|1<<1)
		b = append(b, block[0], block[1], block[2], 0)
	}
	b[len(b)-4] |= 1 // the last one
	return b
}

// TestRatio: 32 KiB of zstd cannot become a GiB, but can become as much as a small image may be.
func TestRatio(t *testing.T) {
	small, large := zstdOfZeros(200<<20), zstdOfZeros(1<<30)
	require.Less(t, len(large), 33<<10)
	r, err := decompress(bytes.NewReader(small))
	require.NoError(t, err)
	n, err := io.Copy(io.Discard, r)
	require.NoError(t, err)
	require.EqualValues(t, 200<<20, n)
	r, err = decompress(bytes.NewReader(large))
	require.NoError(t, err)
	n, err = io.Copy(io.Discard, r)
	require.ErrorContains(t, err, "it unpacks to more than 256 MiB and 1040 times its size, the most that is read: pack it with gzip")
	require.Less(t, n, int64(300<<20))
}

// TestNames: the memory for an image's names is in proportion to the image, however it is packed.
func TestNames(t *testing.T) {
	var entries []images.Entry
	for n := range 12_000 {
		entries = append(entries, images.Entry{Name: strings.Repeat("directory/", 380) + fmt.Sprint(n) + "/"})
	}
	root := images.Tar(t, entries...)
	names := func(archive []byte) (int, error) {
		s, err := OpenAt(bytes.NewReader(archive), int64(len(archive)), "")
		require.NoError(t, err)
		defer s.Close()
		n := 0
		return n, s.Whole("root").Walk(func(Entry) error { n++; return nil })
	}
	_, err := names(root)
	require.NoError(t, err)
	packed := images.Gzip(t, root)
	_, err = names(packed)
	require.EqualError(t, err, fmt.Sprintf("the image has more files, or longer names, than one of %d bytes has", len(packed)))
}

// TestValues: a description of a few MiB does not need a hundred times as much memory.
func TestValues(t *testing.T) {
	l := images.Layout{"index.json": `{"manifests":[` + strings.Repeat("0,", 1<<20) + `0]}`}
	archive := l.Tar(t)
	s, err := OpenAt(bytes.NewReader(archive), int64(len(archive)), "")
	require.NoError(t, err)
	for _, err := range s.Images(func(string, Platform) bool { return true }) {
		require.EqualError(t, err, "index.json: more than 65536 values")
	}
}
