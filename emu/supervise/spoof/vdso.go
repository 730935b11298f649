package spoof

import (
	"encoding/binary"
	"strconv"

	"golang.org/x/sys/unix"

	"binproxy/emu/identity"
	"binproxy/emu/sys"
)

// The vDSO has an ELF note with the kernel's version. glibc up to 2.35 prefers it to uname. All
// processes share one image; what a tracer writes goes to a copy of the page for this process
// (like a debugger's breakpoint), which fork passes on and exec drops. An emulator's own vDSO
// stays as it is: the spoof is for its guest, and the emulator's glibc may need a newer kernel.

// vdsoKind distinguishes the images of one kernel, by ELF class and machine.
type vdsoKind struct {
	class   byte
	machine uint16
}

// patch is new content for a vDSO at an offset.
type patch struct {
	at   uint64
	text []byte
}

const (
	vdsoLimit = 64 << 10 // larger than any vDSO
	vdsoKey   = 33       // AT_SYSINFO_EHDR
)

// TellVDSO makes the vDSO of a new program state the identity's release.
func (s *Spoof) TellVDSO(t Thread) {
	if s == nil || s.identity.Release == "" {
		return
	}
	base := s.vdso(t)
	if base == 0 {
		return
	}
	header := s.header[:]
	if err := t.Read(base, header); err != nil {
		s.debug(t.TID(), "vDSO: %v", err)
		return
	}
	kind := vdsoKind{header[4], binary.LittleEndian.Uint16(header[18:])}
	patches, known := s.vdsos[kind]
	if !known {
		patches = vdsoPatches(header, s.identity.Release, func(at uint64, b []byte) error { return t.Read(base+at, b) })
		s.vdsos[kind] = patches
	}
	for _, p := range patches {
		if err := t.Write(base+p.at, p.text); err != nil {
			s.debug(t.TID(), "vDSO: %v", err)
		}
	}
}

// vdso returns the address of a process's vDSO: AT_SYSINFO_EHDR in /proc/PID/auxv, whose words
// have the program's size. 0 means none.
func (s *Spoof) vdso(t Thread) uint64 {
	fd, err := sys.Openat(s.sight.Proc, strconv.Itoa(t.TID())+"/auxv", unix.O_RDONLY)
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	var b [1024]byte
	n, err := sys.Read(fd, b[:])
	if err != nil {
		return 0
	}
	return auxEntry(b[:n], vdsoKey)
}

// auxEntry returns a value of an auxiliary vector of 64-bit or 32-bit words. No key is above 32
// bits, so the first pair shows the size.
func auxEntry(b []byte, key uint64) uint64 {
	if len(b) < 8 {
		return 0
	}
	le := binary.LittleEndian
	word, size := func(b []byte) uint64 { return le.Uint64(b) }, 8
	if le.Uint64(b) > 1<<32 {
		word, size = func(b []byte) uint64 { return uint64(le.Uint32(b)) }, 4
	}
	for ; len(b) >= 2*size; b = b[2*size:] {
		if word(b) == key {
			return word(b[size:])
		}
	}
	return 0
}

// elfHeader is the size of a 64-bit ELF header; a 32-bit one is shorter.
const elfHeader = 64

// vdsoPatches finds the notes of the image with this header, and returns the changes for the
// release. read reads the image at an offset; every part is in memory at its file offset.
func vdsoPatches(header []byte, release string, read func(at uint64, b []byte) error) []patch {
	const ptNote = 4
	le := binary.LittleEndian
	var list []patch
	table, size, count := le.Uint64(header[32:]), le.Uint16(header[54:]), le.Uint16(header[56:])
	wide := header[4] == 2
	if !wide {
		table, size, count = uint64(le.Uint32(header[28:])), le.Uint16(header[42:]), le.Uint16(header[44:])
	}
	for i := range uint64(count) {
		var p [56]byte
		if table > vdsoLimit || read(table+i*uint64(size), p[:]) != nil {
			break
		}
		at, length := le.Uint64(p[8:]), le.Uint64(p[32:])
		if !wide {
			at, length = uint64(le.Uint32(p[4:])), uint64(le.Uint32(p[16:]))
		}
		if le.Uint32(p[:]) != ptNote || at > vdsoLimit || length > vdsoLimit {
			continue
		}
		notes := make([]byte, length)
		if read(at, notes) == nil && identity.RewriteNotes(notes, release) {
			list = append(list, patch{at, notes})
		}
	}
	return list
}
