package zstd

import "math/bits"

// mostCode is the longest Huffman code, in bits.
const mostCode = 11

// huffman is a table that the next log bits look up: the symbol that they begin with, and how many
// of them it takes.
type huffman struct {
	log     int
	entries []huffmanEntry
}

type huffmanEntry struct{ symbol, bits uint8 }

// readHuffman reads a table's description (RFC 8878, 4.2.1); used is how many bytes that took.
func readHuffman(data []byte) (h huffman, used int, err error) {
	if len(data) == 0 {
		return h, 0, wrong("a Huffman table without its header")
	}
	var weights []uint8
	head := int(data[0])
	if head < 128 {
		used = 1 + head
		if used > len(data) {
			return h, 0, wrong("a Huffman table that ends early")
		}
		weights, err = packedWeights(data[1:used])
	} else {
		count := head - 127
		used = 1 + (count+1)/2
		if used > len(data) {
			return h, 0, wrong("a Huffman table that ends early")
		}
		for i := range count {
			weights = append(weights, data[1+i/2]>>(4-4*(i%2))&15)
		}
	}
	if err == nil {
		h, err = newHuffman(weights)
	}
	return h, used, err
}

// packedWeights reads weights that two states of one entropy coder share a bit stream for.
func packedWeights(data []byte) ([]uint8, error) {
	table, used, err := readFSE(data, 6, mostSymbols)
	if err != nil {
		return nil, err
	}
	b, err := newBackward(data[used:])
	if err != nil {
		return nil, err
	}
	turn, other := &coder{table: &table}, &coder{table: &table}
	turn.start(&b)
	other.start(&b)
	var weights []uint8
	for len(weights) < mostSymbols-1 {
		weights = append(weights, turn.symbol())
		r := b.run()
		turn.next(&r)
		if b.skip(r); b.left < 0 {
			return append(weights, other.symbol()), nil
		}
		turn, other = other, turn
	}
	return nil, wrong("a Huffman table of too many symbols")
}

// newHuffman makes the table of the weights; the last symbol's is not written, since it fills the
// table up.
func newHuffman(weights []uint8) (h huffman, err error) {
	sum := 0
	for _, w := range weights {
		if w > mostCode {
			return h, wrong("a Huffman code that is too long")
		}
		sum += 1 << w >> 1
	}
	if sum == 0 || len(weights) >= mostSymbols {
		return h, wrong("a Huffman table of no use")
	}
	h.log = bits.Len(uint(sum))
	left := 1<<h.log - sum
	if h.log > mostCode || left&(left-1) != 0 {
		return h, wrong("a Huffman table that does not fill up")
	}
	weights = append(weights, uint8(bits.Len(uint(left))))
	h.entries = make([]huffmanEntry, 0, 1<<h.log)
	for weight := 1; weight <= h.log; weight++ {
		for symbol, w := range weights {
			if int(w) == weight {
				for range 1 << weight >> 1 {
					h.entries = append(h.entries, huffmanEntry{uint8(symbol), uint8(h.log + 1 - weight)})
				}
			}
		}
	}
	if len(h.entries) != 1<<h.log {
		return h, wrong("a Huffman table that does not fill up")
	}
	return h, nil
}

// decode appends n symbols of a stream, which has to end with them.
func (h *huffman) decode(out, stream []byte, n int) ([]byte, error) {
	b, err := newBackward(stream)
	if err != nil {
		return out, err
	}
	at := len(out)
	out = append(out, make([]byte, n)...)
	shift := (64 - h.log) & 63
	for at < len(out) {
		// As many codes as a run has for sure.
		r := b.run()
		for end := min(at+runBits/mostCode, len(out)); at < end; at++ {
			e := h.entries[r.bits>>shift]
			out[at] = e.symbol
			r.bits <<= e.bits & 63
			r.used += int(e.bits)
		}
		b.skip(r)
	}
	if b.left != 0 {
		return out, wrong("literals that do not end with their stream")
	}
	return out, nil
}

// decode4 appends n symbols of four streams behind one another; a table of three lengths goes
// before them.
func (h *huffman) decode4(out, data []byte, n int) ([]byte, error) {
	const table = 6
	if len(data) < table {
		return out, wrong("four streams without their lengths")
	}
	lengths, data := data[:table], data[table:]
	part := (n + 3) / 4
	for i := range 4 {
		length, count := len(data), n-3*part
		if i < 3 {
			length, count = int(lengths[2*i])|int(lengths[2*i+1])<<8, part
		}
		if length > len(data) || count < 0 {
			return out, wrong("four streams longer than their block")
		}
		var err error
		if out, err = h.decode(out, data[:length], count); err != nil {
			return out, err
		}
		data = data[length:]
	}
	return out, nil
}
