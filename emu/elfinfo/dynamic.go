package elfinfo

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
)

// Program header types that Notes and Needed look at, besides those of Read.
const ptNote = 4

// Entries of the dynamic section (the ELF specification, "Dynamic Section").
const (
	dtNull   = 0
	dtNeeded = 1
	dtStrtab = 5
	dtStrsz  = 10
)

// These bound how much of a segment of notes, of a dynamic section and of its string table is
// read. No linker writes more into a program, unless the program is made to do harm.
const (
	maxNotes   = 64 << 10
	maxDynamic = 64 << 10
	maxStrings = 4 << 20
)

// A Note is one of an ELF file's notes.
type Note struct {
	Name string // without the 0 at its end
	Type uint32
	Desc []byte
}

// segment is a program header: where a part of the file goes in memory. Sizes and offsets are
// bytes.
type segment struct{ kind, offset, addr, size uint64 }

// segments reads the program headers as a table.
func segments(r io.ReaderAt) (Info, []segment, error) {
	i, err := Read(r)
	if err != nil {
		return i, nil, err
	}
	table := make([]byte, i.phnum*i.phentsize) // Read has checked it
	if _, err := r.ReadAt(table, int64(i.phoff)); err != nil {
		return i, nil, unexpected(err)
	}
	var all []segment
	for ; len(table) > 0; table = table[i.phentsize:] {
		s := segment{kind: uint64(i.order().Uint32(table))}
		if i.Class == 32 {
			s.offset, s.addr, s.size = i.word(table[4:]), i.word(table[8:]), i.word(table[16:])
		} else {
			s.offset, s.addr, s.size = i.word(table[8:]), i.word(table[16:]), i.word(table[32:])
		}
		all = append(all, s)
	}
	return i, all, nil
}

func (i Info) order() binary.ByteOrder {
	if i.Big {
		return binary.BigEndian
	}
	return binary.LittleEndian
}

// word reads an address or an offset, of 4 or 8 bytes by the file's class.
func (i Info) word(b []byte) uint64 {
	if i.Class == 32 {
		return uint64(i.order().Uint32(b))
	}
	return i.order().Uint64(b)
}

func (s segment) read(r io.ReaderAt, what string, limit uint64) ([]byte, error) {
	if s.size > limit || s.offset > 1<<62 {
		return nil, fmt.Errorf("ELF %s: %d bytes at %#x", what, s.size, s.offset)
	}
	b := make([]byte, s.size)
	if _, err := r.ReadAt(b, int64(s.offset)); err != nil {
		return nil, fmt.Errorf("ELF %s: %d bytes at %#x: %w", what, s.size, s.offset, unexpected(err))
	}
	return b, nil
}

// Notes reads the notes that are loaded with a program: those of its PT_NOTE segments.
func Notes(r io.ReaderAt) ([]Note, error) {
	i, all, err := segments(r)
	if err != nil {
		return nil, err
	}
	var notes []Note
	for _, s := range all {
		if s.kind != ptNote {
			continue
		}
		b, err := s.read(r, "notes", maxNotes)
		if err != nil {
			return nil, err
		}
		notes = append(notes, i.notes(b)...)
	}
	return notes, nil
}

// notes parses a segment, up to the first note that does not fit into it.
func (i Info) notes(b []byte) []Note {
	var notes []Note
	for len(b) >= 12 {
		name, desc := uint64(i.order().Uint32(b)), uint64(i.order().Uint32(b[4:]))
		kind := i.order().Uint32(b[8:])
		from := 12 + up(name)
		if from+desc > uint64(len(b)) {
			break
		}
		notes = append(notes, Note{cString(b[12 : 12+name]), kind, b[from : from+desc]})
		b = b[min(from+up(desc), uint64(len(b))):]
	}
	return notes
}

// up rounds a size up to words of 4 bytes, which notes have in both classes.
func up(n uint64) uint64 { return (n + 3) &^ 3 }

// Needed lists the libraries that a dynamic program or library names (DT_NEEDED), in its order.
func Needed(r io.ReaderAt) ([]string, error) {
	i, all, err := segments(r)
	if err != nil {
		return nil, err
	}
	for _, s := range all {
		if s.kind == ptDynamic {
			b, err := s.read(r, "dynamic section", maxDynamic)
			if err != nil {
				return nil, err
			}
			return i.needed(r, b, all)
		}
	}
	return nil, nil
}

func (i Info) needed(r io.ReaderAt, dynamic []byte, all []segment) ([]string, error) {
	var strings segment
	var at []uint64
	size := i.Class / 8
	for ; len(dynamic) >= 2*size; dynamic = dynamic[2*size:] {
		tag, value := i.word(dynamic), i.word(dynamic[size:])
		if tag == dtNull {
			break
		}
		switch tag {
		case dtNeeded:
			at = append(at, value)
		case dtStrtab:
			strings.addr = value
		case dtStrsz:
			strings.size = value
		}
	}
	if len(at) == 0 {
		return nil, nil
	}
	offset, ok := offsetOf(strings.addr, all)
	if !ok {
		return nil, fmt.Errorf("ELF dynamic strings: address %#x is not loaded", strings.addr)
	}
	strings.offset = offset
	table, err := strings.read(r, "dynamic strings", maxStrings)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, n := range at {
		if n >= uint64(len(table)) || bytes.IndexByte(table[n:], 0) < 0 {
			return nil, fmt.Errorf("ELF dynamic strings: a library's name at %#x is outside", n)
		}
		names = append(names, cString(table[n:]))
	}
	return names, nil
}

// offsetOf finds where in the file the byte is that is loaded at an address.
func offsetOf(addr uint64, all []segment) (uint64, bool) {
	for _, s := range all {
		if s.kind == ptLoad && addr >= s.addr && addr-s.addr < s.size {
			return s.offset + (addr - s.addr), true
		}
	}
	return 0, false
}
