package spoof

import (
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"binproxy/emu/identity"
	"binproxy/emu/sys"
)

// identityFile is one of the kernel's files that show the identity.
type identityFile struct {
	identity.File
	dev, ino uint64 // in our /proc and /sys; 0 if it does not exist
	fd       int    // our text for it, once made; -1 before
}

// kernelFile reports whether a file is one of a /proc or a /sys.
func kernelFile(fd int) bool {
	var fs unix.Statfs_t
	return unix.Fstatfs(fd, &fs) == nil && (fs.Type == unix.PROC_SUPER_MAGIC || fs.Type == unix.SYSFS_MAGIC)
}

// asked returns the file that the thread opens, if it is one that shows the identity.
func (s *Spoof) asked(t Thread, o opening) *identityFile {
	v, err := s.sight.View(t.TID(), o.path, o.dirfd)
	if err != nil {
		return s.named(o.path)
	}
	defer v.Close()
	v.Follow = o.flags&unix.O_NOFOLLOW == 0
	fd, errno := v.Find(o.path)
	if errno != 0 {
		return nil
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	// The kernel's file systems have no device of their own.
	if unix.Fstat(fd, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || unix.Major(st.Dev) != 0 {
		return nil
	}
	file := s.match(fd, &st)
	if file == nil || o.flags&unix.O_ACCMODE == unix.O_RDWR && strings.HasSuffix(file.Path, "/hostname") {
		return nil // a program that sets the host's name may set it
	}
	return file
}

// named finds the kernel's file by its name. Without CAP_SYS_PTRACE nobody can see more of a
// process whose real and effective ids differ.
func (s *Spoof) named(name string) *identityFile {
	s.learnFiles()
	for _, f := range s.files {
		if f.Path == path.Clean(name) {
			return f
		}
	}
	return nil
}

// match finds the kernel's file that an O_PATH descriptor refers to. In another mount of /proc the
// file has another device, and a file of /proc/sys also another inode; there match goes by the end
// of the path.
func (s *Spoof) match(fd int, st *unix.Stat_t) *identityFile {
	s.learnFiles()
	if !kernelFile(fd) {
		return nil
	}
	for _, f := range s.files {
		if f.ino != 0 && f.ino == st.Ino && f.dev == st.Dev {
			return f
		}
	}
	path, err := s.sight.PathOf(fd)
	if err != nil {
		return nil
	}
	for _, f := range s.files {
		end := f.Path[strings.LastIndexByte(f.Path, '/'):]
		if rest, ok := strings.CutPrefix(f.Path, "/proc/sys"); ok {
			end = rest
		}
		if strings.HasSuffix(path, end) && (f.ino == st.Ino || strings.HasPrefix(f.Path, "/proc/sys/")) {
			return f
		}
	}
	return nil
}

// learnFiles finds out once which of the files this machine has.
func (s *Spoof) learnFiles() {
	if s.opened {
		return
	}
	s.opened = true
	for _, f := range s.identity.Files(readFile) {
		file := &identityFile{File: f, fd: -1}
		var st unix.Stat_t
		if unix.Stat(f.Path, &st) == nil {
			file.dev, file.ino = st.Dev, st.Ino
		}
		s.files = append(s.files, file)
	}
}

// make writes the file's text into memory and seals it, so that nobody can change it.
func (f *identityFile) make() error {
	text, err := f.Text()
	if err != nil {
		return err
	}
	fd, err := unix.MemfdCreate(f.Path[strings.LastIndexByte(f.Path, '/')+1:], unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return os.NewSyscallError("memfd_create", err)
	}
	if err := write(fd, text); err != nil {
		unix.Close(fd)
		return err
	}
	const sealed = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	_ = unix.Fchmod(fd, 0o444)
	_, _ = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, sealed)
	f.fd = fd
	return nil
}

// write writes all of text.
func write(fd int, text []byte) error {
	n, err := sys.Write(fd, text)
	if err == nil && n != len(text) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return fmt.Errorf("write %d bytes into memory: %d, %w", len(text), max(n, 0), err)
	}
	return nil
}
