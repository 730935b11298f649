// Package arch has one row for each ABI that binproxy can be a guest or a host of: what an ELF
// header says of it, what the kernel, QEMU, Debian, GNU and OCI call it, and the binfmt_misc magic
// and mask that follow.
//
// Sources: the machine numbers are elf.h's, the machine words those of uname(2) under each kernel,
// the emulators' names qemu-user's, the triplets and ports Debian's dpkg tables, the platforms
// those of the OCI image index (GOOS/GOARCH and variant).
package arch

import (
	"fmt"
	"runtime"
	"strings"
)

// An ABI is one row. Class is 32 or 64 (bits). Flags and FlagsMask tell ABIs of the same machine
// apart by the ELF header's e_flags.
type ABI struct {
	// our key, and QEMU's name unless QEMU has one emulator for several ABIs
	Name             string
	QEMU             string   // the emulator is qemu-QEMU
	GOARCH           string   // "" where Go has none
	Machine          string   // utsname.machine
	EMachine         uint16   // e_machine
	Class            int      // 32 or 64
	Big              bool     // big-endian
	Flags, FlagsMask uint32   // e_flags & FlagsMask == Flags
	Debian           string   // the Debian port, "" where there is none
	GNU              string   // the GNU triplet, as Debian's multiarch has it
	Platforms        []string // OCI: arch or arch/variant, the first is the usual one
	Also             []string // other names that people type
}

// The numbers of elf.h that more than one row or package needs.
const (
	em386      = 3
	emMIPS     = 8
	emARM      = 40
	emX86_64   = 62
	mipsABI2   = 0x20  // EF_MIPS_ABI2: n32
	armHardABI = 0x400 // EF_ARM_ABI_FLOAT_HARD
)

var table = []ABI{
	{Name: "aarch64", QEMU: "aarch64", GOARCH: "arm64", Machine: "aarch64", EMachine: 183, Class: 64, Debian: "arm64", GNU: "aarch64-linux-gnu", Platforms: []string{"arm64", "arm64/v8"}, Also: []string{"armv8", "armv8l", "arm64v8"}},
	{Name: "aarch64_be", QEMU: "aarch64_be", Machine: "aarch64_be", EMachine: 183, Class: 64, Big: true, GNU: "aarch64_be-linux-gnu"},
	{Name: "alpha", QEMU: "alpha", Machine: "alpha", EMachine: 0x9026, Class: 64, Debian: "alpha", GNU: "alpha-linux-gnu"},
	{Name: "armhf", QEMU: "arm", GOARCH: "arm", Machine: "armv7l", EMachine: emARM, Class: 32, Flags: armHardABI, FlagsMask: armHardABI, Debian: "armhf", GNU: "arm-linux-gnueabihf", Platforms: []string{"arm/v7", "arm"}, Also: []string{"armv7l", "armv7", "arm", "arm32v7"}},
	{Name: "armel", QEMU: "arm", GOARCH: "arm", Machine: "armv7l", EMachine: emARM, Class: 32, Debian: "armel", GNU: "arm-linux-gnueabi", Platforms: []string{"arm/v6", "arm/v5"}, Also: []string{"armv6l", "armv5tel", "arm32v6", "arm32v5"}},
	{Name: "armeb", QEMU: "armeb", Machine: "armv7b", EMachine: emARM, Class: 32, Big: true, GNU: "armeb-linux-gnueabi"},
	{Name: "hppa", QEMU: "hppa", Machine: "parisc", EMachine: 15, Class: 32, Big: true, Debian: "hppa", GNU: "hppa-linux-gnu"},
	{Name: "i386", QEMU: "i386", GOARCH: "386", Machine: "i686", EMachine: em386, Class: 32, Debian: "i386", GNU: "i386-linux-gnu", Platforms: []string{"386"}, Also: []string{"i486", "i586", "i686", "x86"}},
	{Name: "loongarch64", QEMU: "loongarch64", GOARCH: "loong64", Machine: "loongarch64", EMachine: 258, Class: 64, Debian: "loong64", GNU: "loongarch64-linux-gnu", Platforms: []string{"loong64"}},
	{Name: "m68k", QEMU: "m68k", Machine: "m68k", EMachine: 4, Class: 32, Big: true, Debian: "m68k", GNU: "m68k-linux-gnu"},
	{Name: "microblaze", QEMU: "microblaze", Machine: "microblaze", EMachine: 189, Class: 32, Big: true, GNU: "microblaze-linux-gnu"},
	{Name: "mips", QEMU: "mips", GOARCH: "mips", Machine: "mips", EMachine: emMIPS, Class: 32, Big: true, FlagsMask: mipsABI2, Debian: "mips", GNU: "mips-linux-gnu", Platforms: []string{"mips"}},
	{Name: "mipsel", QEMU: "mipsel", GOARCH: "mipsle", Machine: "mips", EMachine: emMIPS, Class: 32, FlagsMask: mipsABI2, Debian: "mipsel", GNU: "mipsel-linux-gnu", Platforms: []string{"mipsle"}},
	{Name: "mips64", QEMU: "mips64", GOARCH: "mips64", Machine: "mips64", EMachine: emMIPS, Class: 64, Big: true, Debian: "mips64", GNU: "mips64-linux-gnuabi64", Platforms: []string{"mips64"}},
	{Name: "mips64el", QEMU: "mips64el", GOARCH: "mips64le", Machine: "mips64", EMachine: emMIPS, Class: 64, Debian: "mips64el", GNU: "mips64el-linux-gnuabi64", Platforms: []string{"mips64le"}},
	{Name: "mipsn32", QEMU: "mipsn32", Machine: "mips64", EMachine: emMIPS, Class: 32, Big: true, Flags: mipsABI2, FlagsMask: mipsABI2, Debian: "mipsn32", GNU: "mips64-linux-gnuabin32"},
	{Name: "mipsn32el", QEMU: "mipsn32el", Machine: "mips64", EMachine: emMIPS, Class: 32, Flags: mipsABI2, FlagsMask: mipsABI2, Debian: "mipsn32el", GNU: "mips64el-linux-gnuabin32"},
	{Name: "or1k", QEMU: "or1k", Machine: "openrisc", EMachine: 92, Class: 32, Big: true, GNU: "or1k-linux-gnu"},
	{Name: "ppc", QEMU: "ppc", Machine: "ppc", EMachine: 20, Class: 32, Big: true, Debian: "powerpc", GNU: "powerpc-linux-gnu"},
	{Name: "ppc64", QEMU: "ppc64", GOARCH: "ppc64", Machine: "ppc64", EMachine: 21, Class: 64, Big: true, Debian: "ppc64", GNU: "powerpc64-linux-gnu", Platforms: []string{"ppc64"}},
	{Name: "ppc64le", QEMU: "ppc64le", GOARCH: "ppc64le", Machine: "ppc64le", EMachine: 21, Class: 64, Debian: "ppc64el", GNU: "powerpc64le-linux-gnu", Platforms: []string{"ppc64le"}},
	{Name: "riscv32", QEMU: "riscv32", Machine: "riscv32", EMachine: 243, Class: 32, GNU: "riscv32-linux-gnu"},
	{Name: "riscv64", QEMU: "riscv64", GOARCH: "riscv64", Machine: "riscv64", EMachine: 243, Class: 64, Debian: "riscv64", GNU: "riscv64-linux-gnu", Platforms: []string{"riscv64"}},
	{Name: "s390x", QEMU: "s390x", GOARCH: "s390x", Machine: "s390x", EMachine: 22, Class: 64, Big: true, Debian: "s390x", GNU: "s390x-linux-gnu", Platforms: []string{"s390x"}},
	{Name: "sh4", QEMU: "sh4", Machine: "sh4", EMachine: 42, Class: 32, Debian: "sh4", GNU: "sh4-linux-gnu"},
	{Name: "sparc64", QEMU: "sparc64", Machine: "sparc64", EMachine: 43, Class: 64, Big: true, Debian: "sparc64", GNU: "sparc64-linux-gnu"},
	{Name: "x32", QEMU: "", Machine: "x86_64", EMachine: emX86_64, Class: 32, Debian: "x32", GNU: "x86_64-linux-gnux32"},
	{Name: "x86_64", QEMU: "x86_64", GOARCH: "amd64", Machine: "x86_64", EMachine: emX86_64, Class: 64, Debian: "amd64", GNU: "x86_64-linux-gnu", Platforms: []string{"amd64", "amd64/v1", "amd64/v2", "amd64/v3", "amd64/v4"}, Also: []string{"x86-64", "x64"}},
}

// All lists every row, sorted by name within a family. The rows are shared: do not change them.
func All() []*ABI {
	all := make([]*ABI, len(table))
	for i := range table {
		all[i] = &table[i]
	}
	return all
}

// Get finds a row by our own name, as the configuration files have it; nil where there is none.
func Get(name string) *ABI {
	for i := range table {
		if table[i].Name == name {
			return &table[i]
		}
	}
	return nil
}

// ByELF finds the ABI of an ELF header (class 32 or 64, endianness, e_machine and e_flags); nil
// for an unknown one.
func ByELF(class int, big bool, machine uint16, flags uint32) *ABI {
	for i := range table {
		a := &table[i]
		if a.EMachine == machine && a.Class == class && a.Big == big && flags&a.FlagsMask == a.Flags {
			return a
		}
	}
	return nil
}

// Host is the ABI that this binary was built for.
func Host() *ABI {
	for i := range table {
		if table[i].GOARCH == runtime.GOARCH {
			return &table[i]
		}
	}
	panic(fmt.Sprintf("binproxy: no row for GOARCH %s", runtime.GOARCH))
}

// Native reports whether a kernel of host's architecture can itself load programs of a: of its own
// ABI and of the 32-bit ones of its family. Only a probe can find out whether this kernel was
// configured to do so.
func (a *ABI) Native(host *ABI) bool {
	switch {
	case a == host:
		return true
	case host.Name == "x86_64":
		return a.Name == "i386" || a.Name == "x32"
	}
	return false
}

// Platform is the OCI platform, as in linux/arm/v7; "" where OCI has no name for it.
func (a *ABI) Platform() string {
	if len(a.Platforms) == 0 {
		return ""
	}
	return "linux/" + a.Platforms[0]
}

// Audit is the AUDIT_ARCH value that seccomp sees for calls of this ABI (linux/audit.h).
func (a *ABI) Audit() uint32 {
	const is64, isLE, n32 = 0x80000000, 0x40000000, 0x20000000
	v := uint32(a.EMachine)
	if a.Name == "x32" {
		// x32 calls have the AUDIT_ARCH of x86_64, and bit 30 set in their number
		return v | is64 | isLE
	}
	if a.Class == 64 {
		v |= is64
	}
	if !a.Big {
		v |= isLE
	}
	if a.Flags == mipsABI2 {
		v |= is64 | n32
	}
	return v
}

// HeaderKey tells the ABI's programs from others by their ELF header, for readers that have no
// table. It has the bytes of class (with N32's bit of e_flags), data and e_machine, in the file's
// order, and a letter from a to p for each half of a byte.
func (a *ABI) HeaderKey() string {
	magic, _ := a.Magic()
	var b strings.Builder
	for _, k := range []byte{magic[4] | byte(a.Flags&mipsABI2), magic[5], magic[18], magic[19]} {
		b.WriteByte('a' + k>>4)
		b.WriteByte('a' + k&15)
	}
	return b.String()
}
