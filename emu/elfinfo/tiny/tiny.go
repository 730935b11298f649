// Package tiny makes the smallest program of each ABI: an ELF header, one program header, and the
// few instructions of exit(42). What runs it and sees that status has proved that programs of the
// ABI run here, without any file of that architecture at hand.
package tiny

import (
	"encoding/binary"
	"encoding/hex"

	"binproxy/emu/arch"
)

// Status is what the programs exit with.
const Status = 42

// A row has the instructions as words in the order of memory: of 4 bytes each in the ABI's byte
// order where width is 4, of 2 bytes where it is 2, and as plain bytes where it is 0.
type row struct {
	abi   string
	width int
	code  string // hexadecimal
	flags uint32 // e_flags, where the ABI's row does not have all of them
}

// Each row loads 42 into the register of the first argument and the number of exit(2) into that of
// the system call. Sources: syscall(2) for the registers, each kernel's unistd.h for the number,
// the architecture's manual for the encoding.
var rows = [...]row{
	{"aarch64", 0, "400580d2 a80b80d2 010000d4", 0},    // mov x0, 42; mov x8, 93; svc 0
	{"aarch64_be", 0, "400580d2 a80b80d2 010000d4", 0}, // instructions are little-endian always
	{"alpha", 4, "221f002a 201f0001 00000083", 0},      // lda a0, 42; lda v0, 1; callsys
	{"armel", 4, "e3a0002a e3a07001 ef000000", eabi5},  // mov r0, 42; mov r7, 1; svc 0
	{"armhf", 4, "e3a0002a e3a07001 ef000000", eabi5},
	{"armeb", 4, "e3a0002a e3a07001 ef000000", eabi5},
	// ldi 42, r26; ble 0x100(sr2, r0); (delay) ldi 1, r20
	{"hppa", 4, "341a0054 e4008200 34140002", 0},
	{"i386", 0, "bb2a000000 b801000000 cd80", 0}, // mov ebx, 42; mov eax, 1; int 0x80
	// addi.w a0, 42; addi.w a7, 93; syscall; e_flags: double float, ABI 1
	{"loongarch64", 4, "0280a804 0281740b 002b0000", 0x43},
	{"m68k", 2, "722a 7001 4e40", 0}, // moveq 42, d1; moveq 1, d0; trap 0
	// addik r5, 42; addik r12, 1; brki r14, 8
	{"microblaze", 4, "30a0002a 31800001 b9cc0008", 0},
	{"mips", 4, "2404002a 24020fa1 0000000c", mipsO32},      // li a0, 42; li v0, 4001; syscall
	{"mipsel", 4, "2404002a 24020fa1 0000000c", mipsO32},    //
	{"mips64", 4, "2404002a 240213c2 0000000c", mips64r2},   // li v0, 5058
	{"mips64el", 4, "2404002a 240213c2 0000000c", mips64r2}, //
	{"mipsn32", 4, "2404002a 240217aa 0000000c", mips64r2},  // li v0, 6058
	{"mipsn32el", 4, "2404002a 240217aa 0000000c", mips64r2},
	// l.addi r3, 42; l.addi r11, 93; l.sys 1; l.nop
	{"or1k", 4, "9c60002a 9d60005d 20000001 15000000", 0},
	{"ppc", 4, "3860002a 38000001 44000002", 0}, // li r3, 42; li r0, 1; sc
	// the entry is code, not a function descriptor
	{"ppc64", 4, "3860002a 38000001 44000002", elfV2},
	{"ppc64le", 4, "3860002a 38000001 44000002", elfV2}, //
	{"riscv32", 0, "1305a002 9308d005 73000000", 0},     // li a0, 42; li a7, 93; ecall
	{"riscv64", 0, "1305a002 9308d005 73000000", 0},     //
	{"s390x", 0, "a729002a 0a01", 0},                    // lghi r2, 42; svc 1
	{"sh4", 2, "e42a e301 c311", 0},                     // mov 42, r4; mov 1, r3; trapa 0x11
	{"sparc64", 4, "9010202a 82102001 91d0206d", 0},     // mov 42, o0; mov 1, g1; ta 0x6d
	// mov edi, 42; mov eax, 0x4000003c; syscall
	{"x32", 0, "bf2a000000 b83c000040 0f05", 0},
	{"x86_64", 0, "bf2a000000 b83c000000 0f05", 0}, // mov edi, 42; mov eax, 60; syscall
}

// These e_flags are in an ABI's programs, besides those that tell the ABI from others (elf.h, and
// the ABIs' supplements).
const (
	eabi5    = 0x05000000 // EF_ARM_EABI_VER5
	mipsO32  = 0x00001000 // EF_MIPS_ABI_O32
	mips64r2 = 0x80000000 // EF_MIPS_ARCH_64R2
	elfV2    = 2          // EF_PPC64_ABI
)

// The only segment is loaded above every kernel's mmap_min_addr, whatever the page size up to 64
// KiB.
const (
	base  = 0x400000
	align = 0x10000
)

// Program is an executable file of the ABI that exits with Status; nil for an ABI without a row.
func Program(abi *arch.ABI) []byte {
	for i := range rows {
		if r := &rows[i]; r.abi == abi.Name {
			return link(abi, r.instructions(abi), abi.Flags|r.flags)
		}
	}
	return nil
}

func (r *row) instructions(abi *arch.ABI) []byte {
	digits := make([]byte, 0, len(r.code))
	for _, c := range []byte(r.code) {
		if c != ' ' {
			digits = append(digits, c)
		}
	}
	code := make([]byte, len(digits)/2)
	if _, err := hex.Decode(code, digits); err != nil {
		panic("tiny: " + r.abi + ": " + err.Error()) // the table is ours
	}
	if r.width > 0 && !abi.Big {
		for at := 0; at < len(code); at += r.width {
			for i, j := at, at+r.width-1; i < j; i, j = i+1, j-1 {
				code[i], code[j] = code[j], code[i]
			}
		}
	}
	return code
}

// link puts an ELF header and one program header (readable and executable) before the code.
func link(abi *arch.ABI, code []byte, flags uint32) []byte {
	const load, readExec, current = 1, 5, 1
	w := writer{abi: abi, order: binary.LittleEndian}
	if abi.Big {
		w.order = binary.BigEndian
	}
	ehsize, phsize := 52, 32
	if abi.Class == 64 {
		ehsize, phsize = 64, 56
	}
	start := ehsize + phsize
	total := uint64(start + len(code))
	w.bytes = append(w.bytes, abi.ELFStart()[:16]...)
	w.half(2, abi.EMachine) // ET_EXEC
	w.word(current)
	w.address(uint64(base+start), uint64(ehsize), 0) // entry, program headers, no section headers
	w.word(flags)
	w.half(uint16(ehsize), uint16(phsize), 1, 0, 0, 0)
	w.word(load)
	if abi.Class == 64 {
		w.word(readExec)
		w.address(0, base, base, total, total, align)
	} else {
		w.address(0, base, base, total, total)
		w.word(readExec)
		w.address(align)
	}
	return append(w.bytes, code...)
}

type writer struct {
	abi   *arch.ABI
	order binary.ByteOrder
	bytes []byte
}

func (w *writer) half(values ...uint16) {
	for _, v := range values {
		at := len(w.bytes)
		w.bytes = append(w.bytes, 0, 0)
		w.order.PutUint16(w.bytes[at:], v)
	}
}

func (w *writer) word(v uint32) {
	at := len(w.bytes)
	w.bytes = append(w.bytes, 0, 0, 0, 0)
	w.order.PutUint32(w.bytes[at:], v)
}

func (w *writer) address(values ...uint64) {
	for _, v := range values {
		if w.abi.Class == 32 {
			w.word(uint32(v))
			continue
		}
		at := len(w.bytes)
		w.bytes = append(w.bytes, make([]byte, 8)...)
		w.order.PutUint64(w.bytes[at:], v)
	}
}
