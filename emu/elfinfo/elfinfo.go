// Package elfinfo describes an ELF file by reading it, never by running it.
//
// Two depths: Header takes the identity (which ABI, which type) from the first bytes of a file, as
// an exec needs it; Read adds the program headers (interpreter, static or not). Nothing that a
// file says is trusted: every offset and count is checked against a bound before it is used.
package elfinfo

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"binproxy/emu/arch"
)

// Types of ELF files that can be executed (e_type).
const (
	TypeExec = 2
	TypeDyn  = 3
)

// Program header types that Read looks at.
const (
	ptLoad    = 1
	ptDynamic = 2
	ptInterp  = 3
)

// The kernel refuses program header tables over 64 KiB (fs/binfmt_elf.c) and interpreters over
// PATH_MAX.
const (
	maxProgramHeaders = 64 << 10
	maxInterp         = 4096
)

// ErrNotELF means that a file does not start with an ELF header.
var ErrNotELF = errors.New("not an ELF file")

// Info is what an ELF file says of itself. Interp and Dynamic are filled by Read only.
type Info struct {
	Class   int  // 32 or 64
	Big     bool // big-endian
	OSABI   byte
	Type    uint16
	Machine uint16
	Flags   uint32
	Interp  string // PT_INTERP, "" where there is none
	Dynamic bool   // has a PT_DYNAMIC
	// where in the file the last loaded byte ends; a shorter file is damaged. Only Read sets it
	End uint64

	phoff            uint64
	phentsize, phnum int
}

// HeaderSize is how many bytes of a 64-bit file Header needs; a 32-bit file needs 52.
const HeaderSize = 64

// Header reads an ELF header from the first bytes of a file.
func Header(head []byte) (Info, error) {
	if len(head) < 16 || string(head[:4]) != "\x7fELF" {
		return Info{}, ErrNotELF
	}
	var i Info
	switch head[4] {
	case 1:
		i.Class = 32
	case 2:
		i.Class = 64
	default:
		return Info{}, fmt.Errorf("ELF header: class %d is neither 32-bit (1) nor 64-bit (2)", head[4])
	}
	i.OSABI = head[7]
	order, err := byteOrder(head[5])
	if err != nil {
		return Info{}, err
	}
	i.Big = order == binary.BigEndian
	if i.Class == 32 {
		if len(head) < 52 {
			return Info{}, errors.New("ELF header: the file ends in it")
		}
		i.phoff = uint64(order.Uint32(head[28:]))
		i.Flags = order.Uint32(head[36:])
		i.phentsize, i.phnum = int(order.Uint16(head[42:])), int(order.Uint16(head[44:]))
	} else {
		if len(head) < HeaderSize {
			return Info{}, errors.New("ELF header: the file ends in it")
		}
		i.phoff = order.Uint64(head[32:])
		i.Flags = order.Uint32(head[48:])
		i.phentsize, i.phnum = int(order.Uint16(head[54:])), int(order.Uint16(head[56:]))
	}
	i.Type, i.Machine = order.Uint16(head[16:]), order.Uint16(head[18:])
	return i, nil
}

func byteOrder(data byte) (binary.ByteOrder, error) {
	switch data {
	case 1:
		return binary.LittleEndian, nil
	case 2:
		return binary.BigEndian, nil
	}
	return nil, fmt.Errorf("ELF header: byte order %d is neither little (1) nor big (2)", data)
}

// ABI is the row of emu/arch that the header names; nil for an unknown one.
func (i Info) ABI() *arch.ABI { return arch.ByELF(i.Class, i.Big, i.Machine, i.Flags) }

// Executable reports whether the type is one that execve loads.
func (i Info) Executable() bool { return i.Type == TypeExec || i.Type == TypeDyn }

// Static reports whether the program runs without a loader. It is valid only after Read.
func (i Info) Static() bool { return i.Interp == "" }

// Read reads the header and the program headers of an ELF file.
func Read(r io.ReaderAt) (Info, error) {
	head := make([]byte, HeaderSize)
	n, err := r.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return Info{}, err
	}
	i, err := Header(head[:n])
	if err != nil {
		return Info{}, err
	}
	return i, i.readProgramHeaders(r)
}

func (i *Info) readProgramHeaders(r io.ReaderAt) error {
	size := map[int]int{32: 32, 64: 56}[i.Class]
	if i.phnum == 0 {
		return nil
	}
	if i.phentsize != size || i.phnum*size > maxProgramHeaders {
		return fmt.Errorf("ELF program headers: %d of %d bytes", i.phnum, i.phentsize)
	}
	if i.phoff > 1<<62 {
		return fmt.Errorf("ELF program headers: offset %#x is outside the file", i.phoff)
	}
	table := make([]byte, i.phnum*size)
	if _, err := r.ReadAt(table, int64(i.phoff)); err != nil {
		return fmt.Errorf("ELF program headers: %d bytes at %#x: %w", len(table), i.phoff, unexpected(err))
	}
	for ; len(table) > 0; table = table[size:] {
		if err := i.programHeader(r, table[:size]); err != nil {
			return err
		}
	}
	return nil
}

func (i *Info) programHeader(r io.ReaderAt, h []byte) error {
	var order binary.ByteOrder = binary.LittleEndian
	if i.Big {
		order = binary.BigEndian
	}
	var offset, size uint64
	if i.Class == 32 {
		offset, size = uint64(order.Uint32(h[4:])), uint64(order.Uint32(h[16:]))
	} else {
		offset, size = order.Uint64(h[8:]), order.Uint64(h[32:])
	}
	switch order.Uint32(h) {
	case ptLoad:
		if offset > 1<<62 || size > 1<<62 {
			return fmt.Errorf("ELF segment: %d bytes at %#x", size, offset)
		}
		if size > 0 {
			i.End = max(i.End, offset+size)
		}
	case ptDynamic:
		i.Dynamic = true
	case ptInterp:
		if size < 2 || size > maxInterp || offset > 1<<62 {
			return fmt.Errorf("ELF interpreter: %d bytes at %#x", size, offset)
		}
		name := make([]byte, size)
		if _, err := r.ReadAt(name, int64(offset)); err != nil {
			return fmt.Errorf("ELF interpreter: %d bytes at %#x: %w", size, offset, unexpected(err))
		}
		if name[size-1] != 0 {
			return errors.New("ELF interpreter: the name has no end")
		}
		i.Interp = cString(name)
	}
	return nil
}

func cString(b []byte) string {
	for n, c := range b {
		if c == 0 {
			return string(b[:n])
		}
	}
	return string(b)
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
