package zstd

import (
	"encoding/binary"
	"math/bits"
)

// xxh64 is the XXH64 hash with seed 0 (xxHash's specification), whose low half a frame may end
// with.
type xxh64 struct {
	lanes [4]uint64
	tail  [32]byte
	n     uint64
}

const (
	prime1 uint64 = 0x9e3779b185ebca87
	prime2 uint64 = 0xc2b2ae3d27d4eb4f
	prime3 uint64 = 0x165667b19e3779f9
	prime4 uint64 = 0x85ebca77c2b2ae63
	prime5 uint64 = 0x27d4eb2f165667c5
)

func (x *xxh64) reset() {
	one, two := prime1, prime2
	*x = xxh64{lanes: [4]uint64{one + two, two, 0, -one}}
}

func round(lane, word uint64) uint64 { return bits.RotateLeft64(lane+word*prime2, 31) * prime1 }

func (x *xxh64) stripe(b []byte) {
	for i := range x.lanes {
		x.lanes[i] = round(x.lanes[i], binary.LittleEndian.Uint64(b[8*i:]))
	}
}

func (x *xxh64) write(b []byte) {
	held := int(x.n % 32)
	x.n += uint64(len(b))
	if held > 0 {
		used := copy(x.tail[held:], b)
		if held+used < 32 {
			return
		}
		x.stripe(x.tail[:])
		b = b[used:]
	}
	for ; len(b) >= 32; b = b[32:] {
		x.stripe(b)
	}
	copy(x.tail[:], b)
}

func (x *xxh64) value() uint64 {
	h := prime5
	if x.n >= 32 {
		l := x.lanes
		h = bits.RotateLeft64(l[0], 1) + bits.RotateLeft64(l[1], 7) + bits.RotateLeft64(l[2], 12) + bits.RotateLeft64(l[3], 18)
		for _, lane := range l {
			h = (h^round(0, lane))*prime1 + prime4
		}
	}
	h += x.n
	tail := x.tail[:x.n%32]
	for ; len(tail) >= 8; tail = tail[8:] {
		h = bits.RotateLeft64(h^round(0, binary.LittleEndian.Uint64(tail)), 27)*prime1 + prime4
	}
	if len(tail) >= 4 {
		h = bits.RotateLeft64(h^uint64(binary.LittleEndian.Uint32(tail))*prime1, 23)*prime2 + prime3
		tail = tail[4:]
	}
	for _, b := range tail {
		h = bits.RotateLeft64(h^uint64(b)*prime5, 11) * prime1
	}
	h = (h ^ h>>33) * prime2
	h = (h ^ h>>29) * prime3
	return h ^ h>>32
}
