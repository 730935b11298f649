package single

import (
	"binproxy/emu/exit"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
)

// A part is one of the files in a single file. They follow one another from the file's start on.
type part struct {
	name   string
	offset int64
	size   int64 // in bytes
	sum    uint32
}

// addTo continues a sum with b: CRC-32C, a cheap check for damage. Its table is made at the first
// call, which a shim never makes.
func addTo(sum uint32, b []byte) uint32 {
	return crc32.Update(sum, crc32.MakeTable(crc32.Castagnoli), b)
}

// magic begins the trailer; the number in it is the format's.
const magic = "binproxy+parts1\n"

// trailerSize is the size of the file's end: the magic, the index's size and its sum,
// little-endian.
const trailerSize = len(magic) + 4 + 4

// maxIndex bounds an index, to some hundred parts.
const maxIndex = 64 << 10

// appendIndex appends the index of the parts, and the trailer.
func appendIndex(b []byte, parts []part) []byte {
	start := len(b)
	for _, p := range parts {
		b = fmt.Appendf(b, "%s %d %08x\n", p.name, p.size, p.sum)
	}
	index := b[start:]
	size, sum := uint32(len(index)), addTo(0, index)
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint32(b, size)
	return binary.LittleEndian.AppendUint32(b, sum)
}

// parseTrailer gives the index's size and sum; ok is false for the end of another file.
func parseTrailer(b []byte) (size int64, sum uint32, ok bool) {
	if len(b) != trailerSize || string(b[:len(magic)]) != magic {
		return 0, 0, false
	}
	le := binary.LittleEndian
	return int64(le.Uint32(b[len(magic):])), le.Uint32(b[len(magic)+4:]), true
}

const errIndex = exit.Sentinel("the parts are not those of the index")

// parseIndex reads an index, whose parts fill the file up to the start of the index.
func parseIndex(index []byte, begins int64) ([]part, error) {
	var parts []part
	var offset int64
	for line := range strings.Lines(string(index)) {
		words := append(strings.Fields(line), "", "", "")
		size, bad := strconv.ParseInt(words[1], 10, 64)
		sum, err := strconv.ParseUint(words[2], 16, 32)
		if bad != nil || err != nil || words[3] != "" || size < 0 || size > begins-offset {
			return nil, errIndex
		}
		parts = append(parts, part{words[0], offset, size, uint32(sum)})
		offset += size
	}
	if len(parts) == 0 || offset != begins {
		return nil, errIndex
	}
	return parts, nil
}
