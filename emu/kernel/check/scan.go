package check

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// scanner finds the numbers of system calls in code: a constant that goes into the register of the
// number, and then the instruction of the call. It decodes nothing else, so data between functions
// can look like a call: its findings are only as sure as "code".
type scanner func(code []byte) []uint32

// The largest distance, in bytes, of the constant before the instruction; and the largest number.
const (
	maxDistance = 48
	maxNumber   = 1024
)

// scannerFor has a row for each machine whose code can be read: e_machine, and its scanner.
func scannerFor(machine uint16) scanner {
	switch machine {
	case 62:
		return scanX86_64
	case 183:
		return scanAArch64
	}
	return nil
}

// scanX86_64 looks for `mov $N,%eax` (b8) or `mov $N,%rax` (48 c7 c0) before `syscall` (0f 05);
// the nearest one counts.
func scanX86_64(code []byte) []uint32 {
	var found []uint32
	for at := 0; ; {
		i := bytes.Index(code[at:], []byte{0x0f, 0x05})
		if i < 0 {
			return found
		}
		at += i
		if nr, ok := constantBefore(code[max(0, at-maxDistance):at]); ok {
			found = insert(found, nr)
		}
		at += 2
	}
}

func constantBefore(window []byte) (uint32, bool) {
	for i := len(window) - 5; i >= 0; i-- {
		// no REX prefix, which would make it another register
		short := window[i] == 0xb8 && (i == 0 || window[i-1]&0xf0 != 0x40)
		long := window[i] == 0xc0 && i >= 2 && window[i-1] == 0xc7 && window[i-2] == 0x48
		if short || long {
			if nr := binary.LittleEndian.Uint32(window[i+1:]); nr < maxNumber {
				return nr, true
			}
		}
	}
	return 0, false
}

// scanAArch64 looks for `mov x8, #N` or `mov w8, #N` before `svc #0`. Code is aligned to words in
// its segment.
func scanAArch64(code []byte) []uint32 {
	const svc, movMask, movX8, movW8 = 0xd4000001, 0xffe0001f, 0xd2800008, 0x52800008
	var found []uint32
	for at := 0; at+4 <= len(code); at += 4 {
		if binary.LittleEndian.Uint32(code[at:]) != svc {
			continue
		}
		for back := at - 4; back >= max(0, at-maxDistance); back -= 4 {
			w := binary.LittleEndian.Uint32(code[back:])
			if w&movMask == movX8 || w&movMask == movW8 {
				if nr := w >> 5 & 0xffff; nr < maxNumber {
					found = insert(found, nr)
				}
				break
			}
		}
	}
	return found
}

// insert keeps a list sorted and without doubles.
func insert(list []uint32, nr uint32) []uint32 {
	i, ok := slices.BinarySearch(list, nr)
	if ok {
		return list
	}
	return slices.Insert(list, i, nr)
}

// numbers scans all code of a file.
func (f *elfFile) numbers() ([]uint32, error) {
	scan := scannerFor(f.info.Machine)
	if scan == nil {
		return nil, nil
	}
	var all []uint32
	err := f.each(executable, func(code []byte) bool {
		for _, nr := range scan(code) {
			all = insert(all, nr)
		}
		return true
	})
	return all, err
}

// Bounds on the code that is scanned of one function of a libc, and of all functions: glibc's have
// a thirtieth of that.
const (
	maxFunction  = 64 << 10
	maxFunctions = 64 << 20
)

// functions scans each exported function of a libc for the calls that its own code makes.
func (f *elfFile) functions() (map[string][]uint32, error) {
	scan := scannerFor(f.info.Machine)
	if scan == nil {
		return nil, nil
	}
	calls := map[string][]uint32{}
	left := uint64(maxFunctions)
	exported := func(s symbol) bool { return !s.undefined && s.function && s.bytes > 0 && s.bytes <= maxFunction }
	err := f.symbols(exported, func(s symbol) bool {
		if s.bytes > left {
			return false
		}
		left -= s.bytes
		offset, ok := f.fileOffset(s.addr)
		if !ok {
			return true
		}
		code, err := f.read(offset, s.bytes, maxFunction)
		if err != nil {
			return true
		}
		if numbers := scan(code); len(numbers) > 0 {
			calls[string(s.name)] = numbers
		}
		return true
	})
	return calls, err
}
