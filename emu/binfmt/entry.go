// Package binfmt is the kernel's registry of foreign program formats, binfmt_misc: its entries as
// values, the line that registers one, and the files that list them.
//
// An entry pairs a pattern (magic and mask at an offset of the file's start) with an interpreter.
// The kernel keeps one registry for each user namespace that mounted one (Linux 6.7 and later;
// before, one for all), walks it from the newest entry to the oldest, and runs the interpreter of
// the first that matches. One write(2) of one line registers an entry; each entry is then a file
// that says what the kernel understood.
//
// Source: the kernel's Documentation/admin-guide/binfmt-misc.rst and fs/binfmt_misc.c.
package binfmt

import (
	"fmt"
	"strings"

	"binproxy/emu/arch"
	"binproxy/emu/entrypoint"
	"binproxy/emu/exit"
)

// The flags of an entry, by the kernel's letters.
const (
	PreserveArgv0 = 'P' // the interpreter gets the guest's argv[0]
	// the kernel opens the program for the interpreter, so that it need not be readable
	OpenBinary  = 'O'
	Credentials = 'C' // setuid bits and file capabilities of the program count; brings O
	FixBinary   = 'F' // the interpreter is opened at registration: it works in every root
)

// The kernel's limits (fs/binfmt_misc.c): of a line in bytes, of the interpreter's path without
// its NUL, and of the part of a file that is compared.
const (
	MaxLine        = 1920
	MaxInterpreter = 127
	maxHead        = 256
)

// Entry is one entry. Extension is set if it goes by the file's name; Offset, Magic and Mask (as
// long as Magic, nil where every bit counts) if it goes by the file's start. Flags may hold
// letters that only newer kernels have.
type Entry struct {
	Name        string
	Disabled    bool
	Extension   string
	Offset      int
	Magic, Mask []byte
	Interpreter string
	Flags       string
}

// Fields visits all of it.
func (e *Entry) Fields(w *entrypoint.Words) {
	w.String(&e.Name, &e.Extension, &e.Interpreter, &e.Flags)
	w.Bool(&e.Disabled)
	entrypoint.Number(w, &e.Offset)
	w.Bytes(&e.Magic, &e.Mask)
}

// ForABI is the entry that runs programs of the ABI with the emulator. Other programs look for it
// under Debian's name, qemu-ARCH.
func ForABI(abi *arch.ABI, emulator, flags string) Entry {
	magic, mask := abi.Magic()
	return Entry{Name: Name(abi), Magic: magic, Mask: mask, Interpreter: emulator, Flags: flags}
}

// Name is the name of the ABI's entry; "" where QEMU has no emulator for the ABI. ABIs that share
// an emulator share the entry.
func Name(abi *arch.ABI) string {
	if abi.QEMU == "" {
		return ""
	}
	return "qemu-" + abi.QEMU
}

// Has reports whether the entry has a flag.
func (e Entry) Has(flag rune) bool { return strings.ContainsRune(e.Flags, flag) }

// Matches reports whether the kernel would take the entry, if enabled, for a file called name that
// starts with head (at least 256 bytes, or all of a shorter file).
func (e Entry) Matches(head []byte, name string) bool {
	if e.Extension != "" {
		dot := strings.LastIndexByte(name, '.')
		return dot >= 0 && name[dot+1:] == e.Extension
	}
	if len(e.Magic) == 0 || e.Offset < 0 || e.Offset > maxHead {
		return false
	}
	for i, want := range e.Magic {
		var got byte // bytes behind the file's end read as NUL
		if at := e.Offset + i; at < len(head) {
			got = head[at]
		}
		bits := byte(0xff)
		if i < len(e.Mask) {
			bits = e.Mask[i]
		}
		if (got^want)&bits != 0 {
			return false
		}
	}
	return true
}

// Serves reports whether the entry takes programs of the ABI.
func (e Entry) Serves(abi *arch.ABI) bool {
	if e.Extension != "" {
		return false
	}
	return e.Matches(abi.ELFStart(), "")
}

// Line is the text to write into the register file, and a line of /etc/binfmt.d:
// :NAME:M:OFFSET:MAGIC:MASK:INTERPRETER:FLAGS with each byte of magic and mask as a literal \xNN.
func (e Entry) Line() (string, error) {
	if err := e.check(); err != nil {
		return "", err
	}
	var b strings.Builder
	if e.Extension != "" {
		fmt.Fprintf(&b, ":%s:E::%s::%s:%s", e.Name, e.Extension, e.Interpreter, e.Flags)
	} else {
		fmt.Fprintf(&b, ":%s:M:%d:%s:%s:%s:%s", e.Name, e.Offset, escape(e.Magic), escape(e.Mask), e.Interpreter, e.Flags)
	}
	if b.Len() > MaxLine {
		return "", fmt.Errorf("entry %s: the line has %d bytes; the kernel takes %d", e.Name, b.Len(), MaxLine)
	}
	return b.String(), nil
}

func escape(bytes []byte) string {
	var b strings.Builder
	for _, c := range bytes {
		fmt.Fprintf(&b, `\x%02x`, c)
	}
	return b.String()
}

func (e Entry) check() error {
	switch {
	case e.Name == "" || e.Name == "." || e.Name == ".." || e.Name == "register" || e.Name == "status" || strings.Contains(e.Name, "/"):
		return fmt.Errorf("entry %q: the kernel does not take that name", e.Name)
	case strings.ContainsAny(e.Name+e.Extension+e.Interpreter+e.Flags, ":\n\x00"):
		return fmt.Errorf("entry %s: a colon or a line's end in its name, extension, interpreter or flags", e.Name)
	case e.Interpreter == "" || e.Interpreter[0] != '/':
		return fmt.Errorf("entry %s: the interpreter %q is no absolute path", e.Name, e.Interpreter)
	case len(e.Interpreter) > MaxInterpreter:
		return fmt.Errorf("entry %s: the path of the interpreter has %d bytes; the kernel takes %d: %s", e.Name, len(e.Interpreter), MaxInterpreter, e.Interpreter)
	case e.Extension == "" && len(e.Magic) == 0:
		return fmt.Errorf("entry %s: neither magic nor extension", e.Name)
	case len(e.Mask) != 0 && len(e.Mask) != len(e.Magic):
		return fmt.Errorf("entry %s: %d bytes of mask for %d of magic", e.Name, len(e.Mask), len(e.Magic))
	case e.Offset < 0 || e.Offset+len(e.Magic) > maxHead:
		return fmt.Errorf("entry %s: offset %d and %d bytes of magic reach behind the %d bytes that the kernel looks at", e.Name, e.Offset, len(e.Magic), maxHead)
	}
	return nil
}

// ErrNotEntry means that a text is not an entry.
const ErrNotEntry = exit.Sentinel("not a binfmt_misc entry")
