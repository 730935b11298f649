package zstd

import (
	"encoding/binary"
	"math/bits"
)

// backward reads a bit stream from its end, the way that it was not written: the last byte's highest set bit marks the end.
type backward struct {
	data []byte
	left int // bits; below 0 where more was read than there is
}

func newBackward(data []byte) (backward, error) {
	if len(data) == 0 || data[len(data)-1] == 0 {
		return backward{}, wrong("a bit stream without its end mark")
	}
	return backward{data, 8*len(data) - bits.LeadingZeros8(data[len(data)-1]) - 1}, nil
}

// peek gives the next n bits, at most 56. Before the stream's begin there are zeros.
func (b *backward) peek(n int) uint64 {
	at := b.left - n
	if at < 0 {
		if b.left <= 0 {
			return 0
		}
		return b.word(0) & (1<<b.left - 1) << -at
	}
	return b.word(at>>3) >> (at & 7) & (1<<n - 1)
}

// word is 8 bytes of the stream, filled up with zeros.
func (b *backward) word(at int) uint64 {
	if at+8 <= len(b.data) {
		return binary.LittleEndian.Uint64(b.data[at:])
	}
	var tail [8]byte
	copy(tail[:], b.data[at:])
	return binary.LittleEndian.Uint64(tail[:])
}

func (b *backward) take(n int) uint64 {
	v := b.peek(n)
	b.left -= n
	return v
}

// forward reads a bit stream from its begin, the lowest bit of each byte first.
type forward struct {
	data []byte
	at   int // bits
}

// peek gives the next n bits, at most 16; behind the end there are zeros.
func (f *forward) peek(n int) int {
	var b [4]byte
	if at := f.at >> 3; at < len(f.data) {
		copy(b[:], f.data[at:])
	}
	return int(binary.LittleEndian.Uint32(b[:]) >> (f.at & 7) & (1<<n - 1))
}

func (f *forward) take(n int) int {
	v := f.peek(n)
	f.at += n
	return v
}

// used is how many bytes were begun; ok is false where that is more than there are.
func (f *forward) used() (n int, ok bool) {
	n = (f.at + 7) / 8
	return n, n <= len(f.data)
}

// highest is the index of the highest bit set.
func highest(n int) int { return bits.Len(uint(n)) - 1 }
