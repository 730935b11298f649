package tracee

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"

	"binproxy/emu/sys"
)

// pageSize is the smallest of any host: no read may cross into a missing page.
const pageSize = 4096

// There are three ways to a thread's memory. process_vm_readv is the fastest; Docker's seccomp
// profile long refused it without CAP_SYS_PTRACE. /proc/PID/mem is next. PTRACE_PEEKDATA asks for
// no right but to be the tracer, and is left for a thread whose ids are not the tracer's.

// ErrDenied means that no way led to the memory: the process is not dumpable, or the address is
// not mapped.
var ErrDenied = errors.New("its memory may not be read")

// Read fills b from addr.
func (t *Thread) Read(addr uint64, b []byte) error {
	n, err := sys.ReadProcess(t.tid, addr, b)
	if err == nil && n == len(b) {
		return nil
	}
	if err == nil || err == unix.EFAULT || err == unix.ESRCH {
		return fault(err)
	}
	if fd, err := t.openMemory(unix.O_RDONLY); err == nil {
		defer unix.Close(fd)
		n, err := sys.ReadAt(fd, b, int64(addr))
		return whole(n, b, err)
	}
	if n, _ := sys.Peek(t.tid, addr, b); n != len(b) {
		return ErrDenied
	}
	return nil
}

// Write writes b at addr.
func (t *Thread) Write(addr uint64, b []byte) error {
	n, err := sys.WriteProcess(t.tid, addr, b)
	if err == nil && n == len(b) || err == unix.ESRCH {
		return err
	}
	if fd, err := t.openMemory(unix.O_WRONLY); err == nil {
		defer unix.Close(fd)
		err = sys.Retry(func() error { n, err = unix.Pwrite(fd, b, int64(addr)); return err })
		if err == nil && n == len(b) {
			return nil
		}
	}
	n, err = sys.Poke(t.tid, addr, b)
	return whole(n, b, err)
}

func whole(n int, b []byte, err error) error {
	if n == len(b) {
		return nil
	}
	return fault(err)
}

func (t *Thread) openMemory(flags int) (int, error) {
	return sys.Openat(t.tracer.Proc, strconv.Itoa(t.tid)+"/mem", flags)
}

func fault(err error) error {
	if err == nil {
		return unix.EFAULT
	}
	return err
}

// ReadString reads the C string at addr. ENAMETOOLONG means that it does not end within limit
// bytes.
func (t *Thread) ReadString(addr uint64, limit int) (string, error) {
	var text []byte
	var chunk [512]byte
	for len(text) < limit {
		n := min(len(chunk), int(pageSize-addr%pageSize))
		if err := t.Read(addr, chunk[:n]); err != nil {
			return "", fmt.Errorf("read a string of process %d at %#x: %w", t.tid, addr, err)
		}
		if end := bytes.IndexByte(chunk[:n], 0); end >= 0 {
			return string(append(text, chunk[:end]...)), nil
		}
		text = append(text, chunk[:n]...)
		addr += uint64(n)
	}
	return "", unix.ENAMETOOLONG
}
