package check

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"binproxy/emu/elfinfo"
)

// Bounds on what is read of one ELF file. The largest known programs stay far below them.
const (
	maxSections = 64 << 10
	maxSymbols  = 64 << 20 // read in pieces, none of which is kept
	maxNotes    = 64 << 10
	maxSegments = 2048
)

// Section and program header types, and symbol fields, of the ELF specification and of GNU's
// additions to it.
const (
	shtDynsym   = 11
	ptLoad      = 1
	ptNote      = 4
	flagExec    = 1
	flagWrite   = 2
	sttFunc     = 2
	sttIfunc    = 10
	noteABITag  = 1
	noteOSLinux = 0
)

// elfFile is an ELF file, read as far as a check needs it.
type elfFile struct {
	r     io.ReaderAt
	size  int64
	info  elfinfo.Info
	order binary.ByteOrder
	is64  bool

	segments []segment
	sections []section
}

type segment struct {
	kind, flags                uint32
	offset, addr, bytes, align uint64
}

type section struct {
	kind, link    uint32
	offset, bytes uint64
}

// symbol is a dynamic symbol. An undefined one is an import.
type symbol struct {
	name        []byte // until the next symbol is read
	undefined   bool
	function    bool
	addr, bytes uint64
}

// openELF reads the headers. errors.Is(err, elfinfo.ErrNotELF) tells a file of another kind.
func openELF(r io.ReaderAt, size int64) (*elfFile, error) {
	info, err := elfinfo.Read(r)
	if err != nil {
		return nil, err
	}
	f := &elfFile{r: r, size: size, info: info, is64: info.Class == 64, order: binary.LittleEndian}
	if info.Big {
		f.order = binary.BigEndian
	}
	head, err := f.read(0, map[bool]uint64{true: 64, false: 52}[f.is64], 64)
	if err != nil {
		return nil, err
	}
	if err := f.readSegments(head); err != nil {
		return nil, err
	}
	return f, f.readSections(head)
}

// read gives length bytes at an offset; limit is the largest length that makes sense.
func (f *elfFile) read(offset, length, limit uint64) ([]byte, error) {
	if length > limit || offset > uint64(f.size) || length > uint64(f.size)-offset {
		return nil, fmt.Errorf("damaged ELF file: %d bytes at %#x of %d (at most %d)", length, offset, f.size, limit)
	}
	b := make([]byte, length)
	n, err := f.r.ReadAt(b, int64(offset))
	if n == len(b) {
		return b, nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return nil, fmt.Errorf("%d bytes at %#x: %w", length, offset, err)
}

// word reads an address-sized number.
func (f *elfFile) word(b []byte, at64, at32 int) uint64 {
	if f.is64 {
		return f.order.Uint64(b[at64:])
	}
	return uint64(f.order.Uint32(b[at32:]))
}

func (f *elfFile) half(b []byte, at64, at32 int) int {
	if f.is64 {
		return int(f.order.Uint16(b[at64:]))
	}
	return int(f.order.Uint16(b[at32:]))
}

func (f *elfFile) readSegments(head []byte) error {
	count, entry := f.half(head, 56, 44), 32
	if f.is64 {
		entry = 56
	}
	if count == 0 {
		return nil
	}
	table, err := f.read(f.word(head, 32, 28), uint64(count*entry), maxSegments*56)
	if err != nil {
		return fmt.Errorf("program headers: %w", err)
	}
	for ; len(table) >= entry; table = table[entry:] {
		s := segment{kind: f.order.Uint32(table), flags: f.order.Uint32(table[24:])}
		if f.is64 {
			s.flags = f.order.Uint32(table[4:])
		}
		s.offset, s.addr, s.bytes, s.align = f.word(table, 8, 4), f.word(table, 16, 8), f.word(table, 32, 16), f.word(table, 48, 28)
		f.segments = append(f.segments, s)
	}
	return nil
}

// readSections reads the section headers; a file may have none.
func (f *elfFile) readSections(head []byte) error {
	offset, count, entry := f.word(head, 40, 32), f.half(head, 60, 48), 40
	if f.is64 {
		entry = 64
	}
	if offset == 0 || count == 0 {
		return nil
	}
	table, err := f.read(offset, uint64(count*entry), maxSections*64)
	if err != nil {
		return fmt.Errorf("section headers: %w", err)
	}
	for ; len(table) >= entry; table = table[entry:] {
		f.sections = append(f.sections, section{
			kind: f.order.Uint32(table[4:]), offset: f.word(table, 24, 16), bytes: f.word(table, 32, 20), link: f.order.Uint32(table[map[bool]int{true: 40, false: 24}[f.is64]:]),
		})
	}
	return nil
}

// symbols gives visit the dynamic symbols, until visit has seen enough. wanted selects them,
// before they have names. A file without section headers has none that this finds.
func (f *elfFile) symbols(wanted func(symbol) bool, visit func(symbol) (more bool)) error {
	for _, s := range f.sections {
		if s.kind != shtDynsym {
			continue
		}
		if int(s.link) >= len(f.sections) {
			return fmt.Errorf("damaged ELF file: the symbols' strings are section %d of %d", s.link, len(f.sections))
		}
		names := &stringTable{file: f, section: f.sections[s.link]}
		if err := f.eachSymbol(s, names, wanted, visit); err != nil {
			return fmt.Errorf("dynamic symbols: %w", err)
		}
		return nil
	}
	return nil
}

func (f *elfFile) eachSymbol(s section, names *stringTable, wanted, visit func(symbol) bool) error {
	const atOnce = 4096
	entry := uint64(16)
	if f.is64 {
		entry = 24
	}
	if s.bytes > maxSymbols {
		return fmt.Errorf("damaged ELF file: a table of %d bytes (at most %d)", s.bytes, maxSymbols)
	}
	for at := uint64(0); at+entry <= s.bytes; at += atOnce * entry {
		table, err := f.read(s.offset+at, min(atOnce*entry, s.bytes-at), atOnce*entry)
		if err != nil {
			return err
		}
		for ; len(table) >= int(entry); table = table[entry:] {
			symbol := f.symbol(table)
			if !wanted(symbol) {
				continue
			}
			if symbol.name, err = names.at(f.order.Uint32(table)); err != nil {
				return err
			}
			if len(symbol.name) > 0 && !visit(symbol) {
				return nil
			}
		}
	}
	return nil
}

// symbol reads all of a symbol except its name.
func (f *elfFile) symbol(b []byte) symbol {
	info, index := b[12], f.order.Uint16(b[14:])
	if f.is64 {
		info, index = b[4], f.order.Uint16(b[6:])
	}
	return symbol{undefined: index == 0, function: info&15 == sttFunc || info&15 == sttIfunc, addr: f.word(b, 8, 4), bytes: f.word(b, 16, 8)}
}

// stringTable is a table of strings, with one piece in memory: the names of neighbouring symbols
// are usually neighbours, too.
type stringTable struct {
	file    *elfFile
	section section
	from    uint64
	piece   []byte
}

// at is the string at an offset of the table, nil if it has no end or is too long for a symbol
// that matters here.
func (t *stringTable) at(offset uint32) ([]byte, error) {
	const longest, ahead = 256, 16 << 10
	at := uint64(offset)
	if at >= t.section.bytes {
		return nil, nil
	}
	want := min(longest, t.section.bytes-at)
	if at < t.from || at+want > t.from+uint64(len(t.piece)) {
		piece, err := t.file.read(t.section.offset+at, min(ahead, t.section.bytes-at), ahead)
		if err != nil {
			return nil, err
		}
		t.from, t.piece = at, piece
	}
	tail := t.piece[at-t.from:]
	for n, c := range tail[:want] {
		if c == 0 {
			return tail[:n], nil
		}
	}
	return nil, nil
}

// abiTag reads .note.ABI-tag: the oldest Linux that the file accepts. Like glibc's loader, it
// skips notes that are not aligned to 4 bytes or more.
func (f *elfFile) abiTag() (version [3]uint32, ok bool, err error) {
	for _, s := range f.segments {
		if s.kind != ptNote || s.align < 4 {
			continue
		}
		notes, err := f.read(s.offset, s.bytes, maxNotes)
		if err != nil {
			return version, false, fmt.Errorf("notes: %w", err)
		}
		if v, ok := f.findABITag(notes); ok {
			return v, true, nil
		}
	}
	return version, false, nil
}

func (f *elfFile) findABITag(b []byte) (version [3]uint32, ok bool) {
	const header = 12
	for len(b) >= header {
		nameLen, descLen, kind := uint64(f.order.Uint32(b)), uint64(f.order.Uint32(b[4:])), f.order.Uint32(b[8:])
		desc := header + (nameLen+3)&^3
		next := desc + (descLen+3)&^3
		if next > uint64(len(b)) {
			return version, false
		}
		if kind == noteABITag && nameLen == 4 && string(b[header:header+4]) == "GNU\x00" && descLen >= 16 {
			d := b[desc:]
			if f.order.Uint32(d) != noteOSLinux {
				return version, false
			}
			return [3]uint32{f.order.Uint32(d[4:]), f.order.Uint32(d[8:]), f.order.Uint32(d[12:])}, true
		}
		b = b[next:]
	}
	return version, false
}

// fileOffset finds where in the file an address is.
func (f *elfFile) fileOffset(addr uint64) (uint64, bool) {
	for _, s := range f.segments {
		if s.kind == ptLoad && addr >= s.addr && addr-s.addr < s.bytes {
			return s.offset + (addr - s.addr), true
		}
	}
	return 0, false
}

// each gives visit the segments that keep selects, in overlapping pieces of bounded size, until
// visit has seen enough. It ends early if segments overlap again and again.
func (f *elfFile) each(keep func(segment) bool, visit func(piece []byte) bool) error {
	const piece, overlap = 1 << 20, 256
	total := uint64(0)
	for _, s := range f.segments {
		if s.kind != ptLoad || !keep(s) {
			continue
		}
		if s.offset > uint64(f.size) || s.bytes > uint64(f.size)-s.offset {
			return fmt.Errorf("damaged ELF file: a segment of %d bytes at %#x of %d", s.bytes, s.offset, f.size)
		}
		if total += s.bytes; total > 2*uint64(f.size) {
			return fmt.Errorf("damaged ELF file: its segments have more than twice its %d bytes", f.size)
		}
		for at := uint64(0); at < s.bytes; at += piece - overlap {
			b, err := f.read(s.offset+at, min(piece, s.bytes-at), piece)
			if err != nil {
				return err
			}
			if !visit(b) {
				return nil
			}
		}
	}
	return nil
}

func executable(s segment) bool { return s.flags&flagExec != 0 }
func writable(s segment) bool   { return s.flags&flagWrite != 0 }
func anySegment(segment) bool   { return true }
