package supervise

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"

	"binproxy/emu/sys"
)

const pageSize = 4096 // no host has a smaller one, and reads need only not cross one that is missing

// maxString bounds what is read of a tracee's string: the kernel's MAX_ARG_STRLEN, 32 pages.
const maxString = 32 * pageSize

// memory is a stopped tracee's. Three ways lead to it. process_vm_readv is the fastest; Docker's seccomp profile refused it without
// CAP_SYS_PTRACE for long. /proc/PID/mem is next. PTRACE_PEEKDATA asks no one but the tracer, and is left for a tracee whose ids are not
// the tracer's.
type memory struct {
	tid  int
	proc int // a directory descriptor of /proc
}

// errDenied tells that no way led to the memory: the process is not dumpable, or nothing is at the address.
var errDenied = errors.New("its memory may not be read")

// read fills b from addr.
func (m memory) read(addr uint64, b []byte) error {
	n, err := sys.ReadProcess(m.tid, addr, b)
	if err == nil && n == len(b) {
		return nil
	}
	if err == nil || err == unix.EFAULT || err == unix.ESRCH {
		return fault(err)
	}
	if fd, err := m.open(unix.O_RDONLY); err == nil {
		defer unix.Close(fd)
		n, err := sys.ReadAt(fd, b, int64(addr))
		return whole(n, b, err)
	}
	if n, _ := sys.Peek(m.tid, addr, b); n != len(b) {
		return errDenied
	}
	return nil
}

// write puts b at addr.
func (m memory) write(addr uint64, b []byte) error {
	n, err := sys.WriteProcess(m.tid, addr, b)
	if err == nil && n == len(b) || err == unix.ESRCH {
		return err
	}
	if fd, err := m.open(unix.O_WRONLY); err == nil {
		defer unix.Close(fd)
		if n, err := unix.Pwrite(fd, b, int64(addr)); err == nil && n == len(b) {
			return nil
		}
	}
	n, err = sys.Poke(m.tid, addr, b)
	return whole(n, b, err)
}

func whole(n int, b []byte, err error) error {
	if n == len(b) {
		return nil
	}
	return fault(err)
}

func (m memory) open(flags int) (int, error) {
	return sys.Openat(m.proc, strconv.Itoa(m.tid)+"/mem", flags)
}

func fault(err error) error {
	if err == nil {
		return unix.EFAULT
	}
	return err
}

// readString reads the C string at addr. ENAMETOOLONG tells that it does not end within limit bytes.
func (m memory) readString(addr uint64, limit int) (string, error) {
	var text []byte
	var chunk [512]byte
	for len(text) < limit {
		n := min(len(chunk), int(pageSize-addr%pageSize))
		if err := m.read(addr, chunk[:n]); err != nil {
			return "", fmt.Errorf("read a string of process %d at %#x: %w", m.tid, addr, err)
		}
		if end := bytes.IndexByte(chunk[:n], 0); end >= 0 {
			return string(append(text, chunk[:end]...)), nil
		}
		text = append(text, chunk[:n]...)
		addr += uint64(n)
	}
	return "", unix.ENAMETOOLONG
}
