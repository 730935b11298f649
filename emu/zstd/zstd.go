// Package zstd unpacks Zstandard streams (RFC 8878), which image layers may be compressed with.
//
// A frame is a row of blocks of up to 128 KiB. A block holds literal bytes, mostly Huffman-coded
// (huffman.go), and sequences: so many literals, then so many bytes from so far back in what was
// written, with numbers that three entropy coders share a bit stream for (fse.go, sequences.go).
// What a frame may refer back to, its window, is kept; no frame may want more than 128 MiB of it,
// as with zstd(1). Dictionaries are not supported; no image format has them.
//
// It is our own because github.com/klauspost/compress builds a table of CRCs before main, which
// makes an exec through a farm 4 % slower and a shim's start 15 %, and because its decoder is 230
// KiB larger.
package zstd

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// ErrDamaged is in every error about what a stream holds, as against one of reading it.
var ErrDamaged error = damaged("damaged")

type damaged string

func (d damaged) Error() string { return "zstd: " + string(d) }

// wrong is an error about what a stream holds.
func wrong(what string) error { return fmt.Errorf("%w: %s", ErrDamaged, what) }

const (
	magic         = 0xfd2fb528
	skippable     = 0x184d2a50 // the low 4 bits are free
	mostBlock     = 128 << 10
	mostWindow    = 128 << 20
	blockRaw      = 0
	blockRLE      = 1
	blockPacked   = 2
	headerBytes   = 3 // of a block
	checksumBytes = 4
)

// Reader gives the unpacked bytes of a stream of frames.
type Reader struct {
	src    *bufio.Reader
	err    error
	frames int

	// Of the frame that is being read.
	inside   bool
	window   int
	size     uint64 // what it says that it unpacks to
	sized    bool
	summed   bool // a checksum ends it
	sum      xxh64
	written  uint64
	decoder  decoder
	out      []byte // the last bytes that were unpacked: the window, and what was not read yet
	read     int    // how much of out was read
	packed   []byte // the block's bytes, kept for the next
	lastDone bool
}

// NewReader reads a stream from r, which it may read beyond the stream's end.
func NewReader(r io.Reader) *Reader { return &Reader{src: bufio.NewReaderSize(r, 64<<10)} }

// Read gives unpacked bytes, and io.EOF at the end of the last frame.
func (z *Reader) Read(p []byte) (int, error) {
	for z.read == len(z.out) {
		if z.err == nil {
			z.err = z.advance()
		}
		if z.err != nil {
			return 0, z.err
		}
		if len(p) == 0 {
			return 0, nil
		}
	}
	n := copy(p, z.out[z.read:])
	z.read += n
	return n, nil
}

// advance reads the next header, block or checksum.
func (z *Reader) advance() error {
	switch {
	case !z.inside:
		return z.begin()
	case z.lastDone:
		return z.end()
	}
	return z.block()
}

// bytes reads n bytes that have to be there.
func (z *Reader) bytes(b []byte) error {
	_, err := io.ReadFull(z.src, b)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err == io.ErrUnexpectedEOF {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
}

// number reads a little-endian number of n bytes, at most 8.
func (z *Reader) number(n int) (uint64, error) {
	var b [8]byte
	err := z.bytes(b[:n])
	return binary.LittleEndian.Uint64(b[:]), err
}

// begin reads a frame's header, or passes over a frame that is none.
func (z *Reader) begin() error {
	if _, err := z.src.Peek(1); err == io.EOF && z.frames > 0 {
		return io.EOF
	}
	word, err := z.number(4)
	if err != nil {
		return err
	}
	z.frames++
	if word&^15 == skippable {
		n, err := z.number(4)
		if err == nil {
			_, err = io.CopyN(io.Discard, z.src, int64(n))
		}
		if err == io.EOF {
			err = wrong("a skippable frame ends early")
		}
		return err
	}
	if word != magic {
		return wrong("no frame begins where one should")
	}
	return z.header()
}

func (z *Reader) header() error {
	flags, err := z.number(1)
	if err != nil {
		return err
	}
	if flags&8 != 0 {
		return wrong("a reserved bit of the frame's header is set")
	}
	single := flags&32 != 0
	window := uint64(0)
	if !single {
		b, err := z.number(1)
		if err != nil {
			return err
		}
		base := uint64(1) << (10 + b>>3)
		window = base + base/8*(b&7)
	}
	if dictionary, err := z.number([]int{0, 1, 2, 4}[flags&3]); err != nil || dictionary != 0 {
		return errors.Join(err, errors.New("zstd: the frame wants a dictionary, which is not supported"))
	}
	width := []int{0, 2, 4, 8}[flags>>6]
	if width == 0 && single {
		width = 1
	}
	if z.size, err = z.number(width); err != nil {
		return err
	}
	if width == 2 {
		z.size += 256
	}
	if single {
		window = z.size
	}
	if window > mostWindow {
		return fmt.Errorf("zstd: the frame wants a window of %d bytes; the most that is kept is %d", window, mostWindow)
	}
	z.inside, z.lastDone, z.summed, z.sized = true, false, flags&4 != 0, width > 0
	z.window, z.written, z.out, z.read = int(window), 0, z.out[:0], 0
	z.decoder.reset()
	z.sum.reset()
	return nil
}

// end checks what a frame says of itself.
func (z *Reader) end() error {
	z.inside = false
	if z.sized && z.written != z.size {
		return wrong(fmt.Sprintf("a frame of %d bytes says that it has %d", z.written, z.size))
	}
	if !z.summed {
		return nil
	}
	want, err := z.number(checksumBytes)
	if err == nil && uint32(want) != uint32(z.sum.value()) {
		err = wrong("the checksum of a frame does not fit")
	}
	return err
}

// block reads the next block and unpacks it to the end of z.out.
func (z *Reader) block() error {
	head, err := z.number(headerBytes)
	if err != nil {
		return err
	}
	z.lastDone = head&1 != 0
	kind, size := head>>1&3, int(head>>3)
	most := min(mostBlock, max(z.window, 1)) // a frame of nothing has a window of nothing
	if size > most {
		return wrong(fmt.Sprintf("a block of %d bytes; the most is %d", size, most))
	}
	z.slide()
	start := len(z.out)
	switch kind {
	case blockRaw:
		z.out = append(z.out, make([]byte, size)...)
		err = z.bytes(z.out[start:])
	case blockRLE:
		var b uint64
		b, err = z.number(1)
		for range size {
			z.out = append(z.out, byte(b))
		}
	case blockPacked:
		z.packed = append(z.packed[:0], make([]byte, size)...)
		if err = z.bytes(z.packed); err == nil {
			z.out, err = z.decoder.block(z.out, z.packed, most)
		}
	default:
		err = wrong("a block of the reserved kind")
	}
	if err != nil {
		z.out = z.out[:start]
		return err
	}
	z.written += uint64(len(z.out) - start)
	if z.summed {
		z.sum.write(z.out[start:])
	}
	return nil
}

// slide forgets what lies before the window, once that is as much again, so that each byte is
// moved about once.
func (z *Reader) slide() {
	if extra := len(z.out) - z.window; extra > max(z.window, mostBlock) {
		z.out = z.out[:copy(z.out, z.out[extra:])]
		z.read = len(z.out)
	}
}
