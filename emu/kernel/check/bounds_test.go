package check

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// withSymbols is a library with the largest possible table of undefined symbols. The strings at 1,
// 2, 3 ... of a table that is read again and again are their names.
func withSymbols(text string) []byte {
	const ehdr, shdr, entry = 64, 64, 24
	le := binary.LittleEndian
	names := append([]byte{0}, text...)
	stringsAt := ehdr + 2*shdr
	tableAt := stringsAt + len(names)
	b := make([]byte, tableAt+maxSymbols/entry*entry)
	copy(b, "\x7fELF\x02\x01\x01")
	le.PutUint16(b[16:], 3)
	le.PutUint16(b[18:], 62)
	le.PutUint64(b[40:], ehdr)
	le.PutUint16(b[58:], shdr)
	le.PutUint16(b[60:], 2)
	section := func(n, kind, offset, size, link int) {
		h := b[ehdr+n*shdr:]
		le.PutUint32(h[4:], uint32(kind))
		le.PutUint64(h[24:], uint64(offset))
		le.PutUint64(h[32:], uint64(size))
		le.PutUint32(h[40:], uint32(link))
	}
	section(0, shtDynsym, tableAt, len(b)-tableAt, 1)
	section(1, 3, stringsAt, len(names), 0)
	copy(b[stringsAt:], names)
	for n := 0; n < maxSymbols/entry; n++ {
		le.PutUint32(b[tableAt+n*entry:], uint32(1+n%len(text)))
	}
	return b
}

// TestBounds: whatever number of symbols and names a file has, only a few MiB of them are kept,
// and the report says what was left out.
func TestBounds(t *testing.T) {
	var different bytes.Buffer
	for n := range 200_000 {
		fmt.Fprintf(&different, "%d\x00", n)
	}
	for name, c := range map[string]struct{ text, says string }{
		"one long name of C++":  {"_Z" + string(bytes.Repeat([]byte("x"), 250)) + "\x00", ""},
		"names that all differ": {different.String(), "it imports more than"},
	} {
		t.Run(name, func(t *testing.T) {
			file := withSymbols(c.text)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			k := newCollector()
			require.NoError(t, k.add("library.so", bytes.NewReader(file), int64(len(file))))
			runtime.ReadMemStats(&after)
			require.Contains(t, k.objects[0].damage, c.says)
			require.Less(t, (after.TotalAlloc-before.TotalAlloc)>>20, uint64(256), "MiB, with what the collector of garbage takes back")
		})
	}
}

// TestOverlappingSegments: a file is not read a thousand times because its headers say so.
func TestOverlappingSegments(t *testing.T) {
	file := tiny([3]uint32{3, 2, 0}, codeX86)
	le := binary.LittleEndian
	const headers = 1000
	at := len(file)
	for range headers {
		h := bytes.Clone(file[64+56 : 64+2*56])
		le.PutUint64(h[8:], 0)
		le.PutUint64(h[32:], uint64(at))
		file = append(file, h...)
	}
	le.PutUint64(file[32:], uint64(at))
	le.PutUint16(file[56:], headers)
	found := judgeBytes(t, "p", file, "5.14")
	require.Len(t, found, 1)
	require.Contains(t, found[0].Need, "its segments have more than twice its")
}
