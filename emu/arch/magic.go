package arch

import "encoding/binary"

// Magic and mask have the layout of the first 20 bytes of an ELF header, in the file's byte order.
// They compare class, data and version of e_ident, but not the OS ABI and what follows it; e_type
// (EXEC or DYN: the lowest bit is masked out); and e_machine.
const magicLen = 20

// Magic gives what the kernel compares the start of a file with, and the mask that it first
// applies to the file. For ABIs that differ only in e_flags, the flags (bytes 36 to 39) are
// compared, too.
func (a *ABI) Magic() (magic, mask []byte) {
	n := magicLen
	if a.FlagsMask != 0 && a.EMachine == emMIPS {
		n = 40 // the offset of e_flags in a 32-bit header, plus its size
	}
	magic, mask = make([]byte, n), make([]byte, n)
	copy(magic, "\x7fELF")
	magic[4], magic[5], magic[6] = 1, 1, 1
	if a.Class == 64 {
		magic[4] = 2
	}
	for i := range magicLen {
		mask[i] = 0xff
	}
	clear(mask[7:16]) // the OS ABI, its version (MIPS programs have one) and the padding
	order := a.order()
	if a.Big {
		magic[5] = 2
	}
	order.PutUint16(magic[16:], 2) // ET_EXEC
	order.PutUint16(mask[16:], 0xfffe)
	order.PutUint16(magic[18:], a.EMachine)
	if n > magicLen {
		order.PutUint32(magic[36:], a.Flags)
		order.PutUint32(mask[36:], a.FlagsMask)
	}
	return magic, mask
}

func (a *ABI) order() binary.ByteOrder {
	if a.Big {
		return binary.BigEndian
	}
	return binary.LittleEndian
}

// ELFStart is the start of a program of the ABI: the first 64 bytes of an ELF header, with all
// that Magic looks at.
func (a *ABI) ELFStart() []byte {
	head := make([]byte, 64)
	magic, _ := a.Magic()
	copy(head, magic)
	at := 36
	if a.Class == 64 {
		at = 48
	}
	a.order().PutUint32(head[at:], a.Flags)
	return head
}
