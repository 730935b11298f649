package zstd

import (
	"encoding/binary"
	"math/bits"
)

// backward reads a bit stream from its end, the way that it was not written: the last byte's
// highest set bit marks the end.
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

// run is the next bits of a stream, the next one the highest; behind them there are zeros.
type run struct {
	bits uint64
	used int
}

// runBits is how many bits a run has at least, where the stream has as many.
const runBits = 57

// run loads the next bits. What was taken of them is used by skip.
func (b *backward) run() run {
	if b.left >= 64 {
		at := (b.left+7)>>3 - 8
		return run{bits: binary.LittleEndian.Uint64(b.data[at:]) << (64 + at<<3 - b.left)}
	}
	if b.left <= 0 {
		return run{}
	}
	var head [8]byte
	copy(head[:], b.data)
	return run{bits: binary.LittleEndian.Uint64(head[:]) << (64 - b.left)}
}

// take gives the next n bits, at most 32.
func (r *run) take(n uint8) int {
	v := r.bits >> 32 >> ((32 - n) & 63)
	r.bits <<= n & 63
	r.used += int(n)
	return int(v)
}

func (b *backward) skip(r run) { b.left -= r.used }

// take is a run of n bits, at most 32.
func (b *backward) take(n uint8) int {
	r := b.run()
	v := r.take(n)
	b.skip(r)
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
