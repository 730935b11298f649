package twin

import (
	"encoding/binary"
	"errors"

	"binproxy/emu/emulator"
)

// A twin's loader obeys variables that are meant for the guest's: LD_LIBRARY_PATH, LD_PRELOAD,
// GLIBC_TUNABLES and their like. Another first character hides them from it. The smallest possible
// library, which the loader preloads, shows them again in place: its initialiser gets the
// environment before anything of the twin runs.

// UnhideName is that library's name in a set. It is loaded only where something is hidden.
const UnhideName = "lib/unhide.so"

// Hidden gives the character that replaces the first one of a variable's entry; ok is false for a
// variable that no loader obeys.
func Hidden(entry string) (first byte, ok bool) {
	switch {
	case !emulator.ForLoader(entry):
		return 0, false
	case entry[0] == 'L':
		return 1, true
	}
	return 2, true
}

// The initialisers: in each string of the environment, their third argument, 1 becomes L and 2
// becomes G.
const (
	unhideAMD64 = "" +
		"\x48\x8b\x02" + // loop: mov rax, [rdx]
		"\x48\x85\xc0" + // test rax, rax
		"\x74\x18" + // je end
		"\x48\x83\xc2\x08" + // add rdx, 8
		"\x80\x38\x01" + // cmp byte [rax], 1
		"\x75\x05" + // jne second
		"\xc6\x00L" + // mov byte [rax], 'L'
		"\xeb\xea" + // jmp loop
		"\x80\x38\x02" + // second: cmp byte [rax], 2
		"\x75\xe5" + // jne loop
		"\xc6\x00G" + // mov byte [rax], 'G'
		"\xeb\xe0" + // jmp loop
		"\xc3" // end: ret
	unhideARM64 = "" +
		"\x43\x84\x40\xf8" + // loop: ldr x3, [x2], #8
		"\x43\x01\x00\xb4" + // cbz x3, end
		"\x64\x00\x40\x39" + // ldrb w4, [x3]
		"\x85\x09\x80\x52" + // mov w5, #'L'
		"\x9f\x04\x00\x71" + // cmp w4, #1
		"\x80\x00\x00\x54" + // b.eq store
		"\xe5\x08\x80\x52" + // mov w5, #'G'
		"\x9f\x08\x00\x71" + // cmp w4, #2
		"\x01\xff\xff\x54" + // b.ne loop
		"\x65\x00\x00\x39" + // store: strb w5, [x3]
		"\xf6\xff\xff\x17" + // b loop
		"\xc0\x03\x5f\xd6" // end: ret
)

func unhideCode(machine uint16) string {
	switch machine {
	case 62:
		return unhideAMD64
	case 183:
		return unhideARM64
	}
	return ""
}

// Unhide is the library for a host whose ELF files have this e_machine.
func Unhide(machine uint16) ([]byte, error) {
	code := unhideCode(machine)
	if code == "" {
		return nil, errors.New("there is no initialiser for this host's machine code")
	}
	// A readable and executable segment has everything except the dynamic section. That is in a
	// writable one, since loaders write to it.
	const header, segment, symbol, page = 64, 56, 24, 0x1000
	const (
		ptLoad, ptDynamic, ptStack = 1, 2, 0x6474e551
		x, w, r                    = 1, 2, 4
	)
	const segments = 4
	symbols := uint64(header + segments*segment)
	names := symbols + symbol
	hash := names + 8
	text := hash + 16
	dynamicAt := uint64(page)
	name := []byte("\x00u.so\x00\x00\x00")
	dynamic := []uint64{
		14, 1, // DT_SONAME
		4, hash, // DT_HASH
		5, names, // DT_STRTAB
		6, symbols, // DT_SYMTAB
		10, uint64(len(name)), // DT_STRSZ
		11, symbol, // DT_SYMENT
		12, text, // DT_INIT
		0, 0,
	}
	var b []byte
	put := func(values ...any) {
		for _, v := range values {
			b = little(b, v)
		}
	}
	put([]byte("\x7fELF\x02\x01\x01"), make([]byte, 9), uint16(3), machine, uint32(1), uint64(0), uint64(header), uint64(0), uint32(0),
		uint16(header), uint16(segment), uint16(segments), uint16(64), uint16(0), uint16(0))
	size, end := uint64(8*len(dynamic)), text+uint64(len(code))
	put(uint32(ptLoad), uint32(r|x), uint64(0), uint64(0), uint64(0), end, end, uint64(page))
	put(uint32(ptLoad), uint32(r|w), dynamicAt, 16*dynamicAt, 16*dynamicAt, size, size, uint64(page))
	put(uint32(ptDynamic), uint32(r|w), dynamicAt, 16*dynamicAt, 16*dynamicAt, size, size, uint64(8))
	put(uint32(ptStack), uint32(r|w), uint64(0), uint64(0), uint64(0), uint64(0), uint64(0), uint64(16))
	put(make([]byte, symbol), name, uint32(0), uint32(1), uint32(0), uint32(0), []byte(code))
	put(make([]byte, int(dynamicAt)-len(b)))
	for _, word := range dynamic {
		put(word)
	}
	return b, nil
}

// little puts a number behind b, or bytes as they are.
func little(b []byte, v any) []byte {
	switch v := v.(type) {
	case uint16:
		return binary.LittleEndian.AppendUint16(b, v)
	case uint32:
		return binary.LittleEndian.AppendUint32(b, v)
	case uint64:
		return binary.LittleEndian.AppendUint64(b, v)
	}
	return append(b, v.([]byte)...)
}
