package zstd

import "slices"

// decoder is what the packed blocks of a frame hand on to the next.
type decoder struct {
	codes    huffman
	tables   [3]fseTable // of literal lengths, offsets, match lengths
	offsets  [3]int      // the last three
	literals []byte      // kept for the next block
}

func (d *decoder) reset() {
	d.codes, d.tables, d.offsets = huffman{}, [3]fseTable{}, [3]int{1, 4, 8}
}

// block appends what a packed block unpacks to, at most most bytes.
func (d *decoder) block(out, data []byte, most int) ([]byte, error) {
	used, err := d.readLiterals(data, most)
	if err != nil {
		return out, err
	}
	return d.sequences(out, data[used:], len(out)+most)
}

// The kinds of a literals section.
const (
	literalsRaw = iota
	literalsRLE
	literalsCoded
	literalsCodedAgain // with the table of the block before
)

// readLiterals reads the literals section into d.literals; used is how many bytes it took.
func (d *decoder) readLiterals(data []byte, most int) (used int, err error) {
	if len(data) == 0 {
		return 0, wrong("a block of nothing")
	}
	kind, format := data[0]&3, int(data[0]>>2&3)
	var word uint64
	for i := range min(5, len(data)) {
		word |= uint64(data[i]) << (8 * i)
	}
	var head, size, packed int
	if kind == literalsRaw || kind == literalsRLE {
		head = [4]int{1, 2, 1, 3}[format]
		size = int(word >> [4]int{3, 4, 3, 4}[format] & (1<<[4]int{5, 12, 5, 20}[format] - 1))
		packed = size
		if kind == literalsRLE {
			packed = 1
		}
	} else {
		width := [4]int{10, 10, 14, 18}[format]
		head = [4]int{3, 3, 4, 5}[format]
		size = int(word >> 4 & (1<<width - 1))
		packed = int(word >> (4 + width) & (1<<width - 1))
	}
	if head+packed > len(data) || size > most {
		return 0, wrong("literals that are longer than their block")
	}
	used = head + packed
	data = data[head:used]
	d.literals = d.literals[:0]
	switch kind {
	case literalsRaw:
		d.literals = append(d.literals, data...)
		return used, nil
	case literalsRLE:
		for range size {
			d.literals = append(d.literals, data[0])
		}
		return used, nil
	case literalsCoded:
		var n int
		if d.codes, n, err = readHuffman(data); err != nil {
			return 0, err
		}
		data = data[n:]
	}
	if d.codes.entries == nil {
		return 0, wrong("literals that want the table of a block before, and there is none")
	}
	if format == 0 {
		d.literals, err = d.codes.decode(d.literals, data, size)
	} else {
		d.literals, err = d.codes.decode4(d.literals, data, size)
	}
	return used, err
}

// kindOf describes one of the three numbers of a sequence: its codes, what code each stands for,
// and the distribution where none is sent.
type kindOf struct {
	mostLog, symbols int
	defaultLog       int
	shares           []int16
}

// The distributions of RFC 8878, 3.1.1.3.2.2.
var kinds = [3]kindOf{
	{9, 36, 6, []int16{4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1, -1, -1, -1, -1}},
	{8, 32, 5, []int16{1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1}},
	{9, 53, 6, []int16{1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
		-1, -1, -1, -1, -1, -1, -1}},
}

// lengthCode is what a code of a length stands for: base and as many bits more.
type lengthCode struct {
	base uint32
	bits uint8
}

// The length codes of RFC 8878, 3.1.1.3.2.1.1, above those that stand for themselves: literal
// lengths from 16, match lengths (3 more) from 32.
var (
	literalCodes = [...]lengthCode{{16, 1}, {18, 1}, {20, 1}, {22, 1}, {24, 2}, {28, 2}, {32, 3}, {40, 3}, {48, 4}, {64, 6}, {128, 7}, {256, 8}, {512, 9},
		{1024, 10}, {2048, 11}, {4096, 12}, {8192, 13}, {16384, 14}, {32768, 15}, {65536, 16}}
	matchCodes = [...]lengthCode{{35, 1}, {37, 1}, {39, 1}, {41, 1}, {43, 2}, {47, 2}, {51, 3}, {59, 3}, {67, 4}, {83, 4}, {99, 5}, {131, 7}, {259, 8}, {515, 9},
		{1027, 10}, {2051, 11}, {4099, 12}, {8195, 13}, {16387, 14}, {32771, 15}, {65539, 16}}
)

func literalLength(code uint8, r *run) int {
	if code < 16 {
		return int(code)
	}
	c := literalCodes[code-16]
	return int(c.base) + r.take(c.bits)
}

func matchLength(code uint8, r *run) int {
	if code < 32 {
		return int(code) + 3
	}
	c := matchCodes[code-32]
	return int(c.base) + r.take(c.bits)
}

// sequences appends what the sequences section makes of the literals; end is the most that out may
// grow to.
func (d *decoder) sequences(out, data []byte, end int) ([]byte, error) {
	count, data, err := sequenceCount(data)
	if err != nil {
		return out, err
	}
	literals := d.literals
	if count > 0 {
		if data, err = d.readTables(data); err != nil {
			return out, err
		}
		if out, literals, err = d.execute(out, data, count, end); err != nil {
			return out, err
		}
	} else if len(data) > 0 {
		return out, wrong("bytes behind a block without sequences")
	}
	if len(literals) > end-len(out) {
		return out, wrong("a block that unpacks to too much")
	}
	return append(out, literals...), nil
}

func sequenceCount(data []byte) (count int, rest []byte, err error) {
	switch {
	case len(data) > 0 && data[0] < 128:
		return int(data[0]), data[1:], nil
	case len(data) > 1 && data[0] < 255:
		return int(data[0]-128)<<8 | int(data[1]), data[2:], nil
	case len(data) > 2 && data[0] == 255:
		return int(data[1]) + int(data[2])<<8 + 0x7f00, data[3:], nil
	}
	return 0, nil, wrong("a block without the number of its sequences")
}

// readTables reads the three tables, each the default one, a single symbol, a distribution, or
// that of the block before.
func (d *decoder) readTables(data []byte) (rest []byte, err error) {
	if len(data) == 0 || data[0]&3 != 0 {
		return nil, wrong("sequences without their header")
	}
	modes, data := data[0], data[1:]
	for i := range kinds {
		k, t := &kinds[i], &d.tables[i]
		switch modes >> (6 - 2*i) & 3 {
		case 0:
			*t, err = newFSE(k.defaultLog, k.shares)
		case 1:
			if len(data) == 0 || int(data[0]) >= k.symbols {
				return nil, wrong("a table of no symbol")
			}
			*t, data = fseTable{0, []fseState{{symbol: data[0]}}}, data[1:]
		case 2:
			var used int
			if *t, used, err = readFSE(data, k.mostLog, k.symbols); err == nil {
				data = data[used:]
			}
		case 3:
			if t.states == nil {
				err = wrong("sequences that want the table of a block before, and there is none")
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return data, nil
}

// execute appends what count sequences make, and gives the literals that are left.
func (d *decoder) execute(out, data []byte, count, end int) (_, literals []byte, err error) {
	b, err := newBackward(data)
	if err != nil {
		return out, nil, err
	}
	lengths, offsets, matches := coder{table: &d.tables[0]}, coder{table: &d.tables[1]}, coder{table: &d.tables[2]}
	lengths.start(&b)
	offsets.start(&b)
	matches.start(&b)
	literals = d.literals
	at := len(out)
	out = slices.Grow(out, end-at+stride)[:end+stride]
	for n := range count {
		// An offset has at most 31 bits more and a match 16; a literal 16, and three states 26.
		r := b.run()
		width := offsets.symbol()
		value := 1<<width + r.take(width)
		match := matchLength(matches.symbol(), &r)
		b.skip(r)
		r = b.run()
		literal := literalLength(lengths.symbol(), &r)
		if n < count-1 {
			lengths.next(&r)
			matches.next(&r)
			offsets.next(&r)
		}
		b.skip(r)
		offset := d.offset(value, literal)
		if literal > len(literals) || literal+match > end-at {
			return out[:at], nil, wrong("a sequence longer than its block")
		}
		if literal <= stride && len(literals) >= stride {
			*(*[stride]byte)(out[at:]) = [stride]byte(literals)
		} else {
			copy(out[at:], literals[:literal])
		}
		at, literals = at+literal, literals[literal:]
		if offset <= 0 || offset > at || b.left < 0 {
			return out[:at], nil, wrong("a sequence from before the begin")
		}
		repeat(out, at, offset, match)
		at += match
	}
	out = out[:at]
	if b.left != 0 {
		return out, nil, wrong("sequences that do not end with their stream")
	}
	return out, literals, nil
}

// offset is how far back a sequence goes. The values 1 to 3 are offsets that came before (RFC
// 8878, 3.1.1.5).
func (d *decoder) offset(value, literal int) int {
	last := &d.offsets
	if value > 3 {
		last[2], last[1], last[0] = last[1], last[0], value-3
		return last[0]
	}
	if literal == 0 {
		value++
	}
	var offset int
	switch value {
	case 1:
		return last[0]
	case 2:
		last[1], last[0] = last[0], last[1]
		return last[0]
	case 3:
		offset = last[2]
	case 4:
		offset = last[0] - 1
	}
	last[2], last[1], last[0] = last[1], last[0], offset
	return offset
}

// stride is how much is copied at once where that may be too much: what follows overwrites it.
const stride = 16

// repeat puts n bytes from offset back at a place in out, which may be the ones that it puts
// there. Behind them there has to be room for a stride.
func repeat(out []byte, at, offset, n int) {
	if offset >= stride && n <= 2*stride {
		*(*[stride]byte)(out[at:]) = [stride]byte(out[at-offset:])
		if n > stride {
			*(*[stride]byte)(out[at+stride:]) = [stride]byte(out[at+stride-offset:])
		}
		return
	}
	for n > offset {
		copy(out[at:at+offset], out[at-offset:at])
		at += offset
		n -= offset
		offset *= 2
	}
	copy(out[at:at+n], out[at-offset:])
}
