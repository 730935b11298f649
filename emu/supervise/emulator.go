package supervise

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"binproxy/emu/arch"
	"binproxy/emu/elfinfo"
	"binproxy/emu/emulator"
	"binproxy/emu/supervise/sight"
	"binproxy/emu/supervise/stack"
	"binproxy/emu/supervise/tracee"
	"binproxy/emu/sys"
)

// executable is an open native program that is executed in place of a guest's: an emulator, its
// loader, or the twins' loader.
type executable struct {
	path string // the path by which a tracee may find it
	fd   int
	file sight.FileID
	// the address of a call instruction, relative to its entry point (modulo 2^64); 0 where
	// the file has none
	call uint64
}

// opened is an open emulator.
type opened struct {
	emulator.Emulator
	executable
}

// emulator opens the emulator for an ABI, once.
func (s *supervisor) emulator(abi *arch.ABI) (*opened, error) {
	if e := s.emulators[abi]; e != nil {
		return e, nil
	}
	if err := s.broken[abi]; err != nil {
		return nil, err
	}
	e, err := s.openEmulator(abi)
	if err != nil {
		s.broken[abi] = err
		return nil, err
	}
	s.emulators[abi] = e
	return e, nil
}

func (s *supervisor) openEmulator(abi *arch.ABI) (*opened, error) {
	c, err := s.config.Emulator(abi)
	if err != nil {
		return nil, err
	}
	x, err := s.openExecutable(c.Program())
	return &opened{c, x}, err
}

func (s *supervisor) openExecutable(path string) (executable, error) {
	f, err := os.Open(path)
	if err != nil {
		return executable{}, err
	}
	defer f.Close()
	if err := sys.AccessReal(s.sight.Self, int(f.Fd()), unix.X_OK); err != nil {
		return executable{}, &os.PathError{Op: "execute", Path: path, Err: err}
	}
	x := executable{path: path}
	if fd, ok := sys.OwnDescriptor(path); ok {
		x.path = fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd)
	}
	call, entry, err := findCall(f, false)
	if err != nil {
		return x, fmt.Errorf("%s: %w", path, err)
	}
	if call != 0 {
		x.call = call - entry
	}
	if x.file, err = s.sight.Identify(int(f.Fd())); err != nil {
		return x, err
	}
	x.fd, err = unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	return x, err
}

// No program's table of program headers, and no code of one, needs to be read beyond these.
const (
	maxHeaders = 64
	maxCode    = 64 << 20
)

// findCall finds a call instruction in the code of a program, which must be native, 64-bit and
// little-endian, as every host of ours is. It is 0 for a program that leaves calls to its
// libraries. r is the program's file, or what is loaded of it.
func findCall(r io.ReaderAt, loaded bool) (call, entry uint64, err error) {
	const ptLoad, executable, headerSize, programHeaderSize = 1, 1, 64, 56
	var head [headerSize]byte
	if _, err := r.ReadAt(head[:], 0); err != nil {
		return 0, 0, err
	}
	info, err := elfinfo.Header(head[:])
	if err != nil {
		return 0, 0, err
	}
	if info.ABI() != arch.Host() {
		return 0, 0, errors.New("is not a program of this host's architecture")
	}
	le := binary.LittleEndian
	entry, table, count := le.Uint64(head[24:]), le.Uint64(head[32:]), int(le.Uint16(head[56:]))
	for i := range min(count, maxHeaders) {
		var p [programHeaderSize]byte
		if _, err := r.ReadAt(p[:], int64(table)+int64(i)*programHeaderSize); err != nil {
			return 0, 0, err
		}
		if le.Uint32(p[:]) != ptLoad || le.Uint32(p[4:])&executable == 0 {
			continue
		}
		from, addr, size := le.Uint64(p[8:]), le.Uint64(p[16:]), le.Uint64(p[32:])
		if loaded {
			from = addr
		}
		if at, ok := search(io.NewSectionReader(r, int64(from), int64(min(size, maxCode))), tracee.CallInstruction); ok {
			return addr + at, entry, nil
		}
	}
	return 0, entry, nil
}

// callIn is the address of a call instruction in the new program: the emulator's own, or its
// loader's.
func (e *exec) callIn(new stack.Rewritten) (uint64, error) {
	if e.via.call != 0 {
		return new.Entry + e.via.call, nil
	}
	call, _, err := findCall(image{e.t, new.Loader}, true)
	if err == nil && call == 0 {
		err = errors.New("no system call instruction is in it, or in its loader")
	}
	if err != nil {
		return 0, fmt.Errorf("%s: %w", e.via.path, err)
	}
	return new.Loader + call, nil
}

// image is what a thread has in its memory from an address on.
type image struct {
	memory stack.Memory
	base   uint64
}

func (i image) ReadAt(b []byte, at int64) (int, error) {
	if err := i.memory.Read(i.base+uint64(at), b); err != nil {
		return 0, err
	}
	return len(b), nil
}

// search finds the first place of what in r.
func search(r io.Reader, what []byte) (uint64, bool) {
	const chunk = 64 << 10
	buf := make([]byte, chunk+len(what)-1)
	var base uint64
	have := 0
	for {
		n, err := io.ReadFull(r, buf[have:])
		if i := bytes.Index(buf[:have+n], what); i >= 0 {
			return base + uint64(i), true
		}
		if err != nil {
			return 0, false
		}
		base += uint64(have + n - len(what) + 1)
		have = copy(buf, buf[have+n-len(what)+1:have+n])
	}
}
