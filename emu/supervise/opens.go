package supervise

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"binproxy/emu/identity"
	"binproxy/emu/seccomp"
	"binproxy/emu/supervise/tracee"
	"binproxy/emu/sys"
)

// openForm is how a variant of open takes its arguments.
type openForm int

const (
	openPath openForm = iota + 1 // open(path, flags)
	openAt                       // openat(dirfd, path, flags)
	openHow                      // openat2(dirfd, path, how, size)
)

// notReading are the flags of opens that do not lead to a file's text: those that make a file, and those of a mere place.
const notReading = unix.O_CREAT | unix.O_DIRECTORY | unix.O_PATH

// reading are the conditions under which an open reads. The flags of openat2 are not in registers.
func (f openForm) reading() []*seccomp.Equal {
	arg := int(f)
	if f == openHow {
		return []*seccomp.Equal{nil}
	}
	const mask = notReading | unix.O_ACCMODE
	return []*seccomp.Equal{{Arg: arg, Value: unix.O_RDONLY, Mask: mask}, {Arg: arg, Value: unix.O_RDWR, Mask: mask}}
}

// toldFile is one of the kernel's files that is to say another thing.
type toldFile struct {
	identity.File
	dev, ino uint64 // in the /proc and /sys that we have; 0 where it is not there
	fd       int    // what it says, once that is made; -1
}

// opening is an open as the tracee asks for it.
type opening struct {
	path  string
	dirfd int
	flags uint64
}

func (o opening) cloexec() bool { return o.flags&unix.O_CLOEXEC != 0 }

func (s *supervisor) opening(t *task, c *spoofedCall, regs *tracee.Registers) (o opening, err error) {
	arg := func(n int) uint64 { return *regs.Arg(c.ABI, n) }
	o.dirfd = unix.AT_FDCWD
	at := 0
	if c.openOf != openPath {
		o.dirfd, at = int(int32(arg(0))), 1
	}
	o.flags = arg(at + 1)
	if c.openOf == openHow {
		var how [24]byte // struct open_how: flags, mode, resolve
		if err := t.Read(o.flags, how[:]); err != nil {
			return o, err
		}
		if o.flags = binary.LittleEndian.Uint64(how[:]); binary.LittleEndian.Uint64(how[16:]) != 0 {
			return o, nil // with rules of its own on how the path leads there: the kernel's business
		}
	}
	o.path, err = t.ReadString(arg(at), unix.PathMax)
	return o, err
}

// openStop is a tracee about to open a file for reading. If that is one of the kernel's files, it gets another one instead. Everything
// else is the kernel's business.
func (s *supervisor) openStop(t *task, c *spoofedCall) error {
	regs, err := t.Registers()
	if err != nil {
		return err
	}
	if d := t.decided; d != nil {
		t.decided = nil
		if d.args == c.openArgs(&regs) {
			return s.answerOpen(t, c, regs, d.file, d.cloexec)
		}
	}
	o, err := s.opening(t, c, &regs)
	if err != nil && !tracee.Gone(err) {
		return s.openUndumpable(t, c, regs)
	}
	if err != nil || o.flags&notReading != 0 || o.path == "" || s.ordinary(t, o) {
		return t.Continue(0)
	}
	return s.answerOpen(t, c, regs, s.askedFile(t, o), o.cloexec())
}

// answerOpen lets the open be, or makes it give the file.
func (s *supervisor) answerOpen(t *task, c *spoofedCall, regs tracee.Registers, file *toldFile, cloexec bool) error {
	if file == nil {
		return t.Continue(0)
	}
	if file.fd < 0 {
		if err := file.make(); err != nil {
			s.debug(t, "%s: %v", file.Path, err)
			return t.Continue(0)
		}
	}
	s.debug(t, "open %s", file.Path)
	return s.giveFile(t, c, regs, file.fd, cloexec)
}

// decided is what an open that is made again is to give: nil is the kernel's own answer.
type decided struct {
	args    [3]uint64
	file    *toldFile
	cloexec bool
}

func (c *spoofedCall) openArgs(regs *tracee.Registers) (args [3]uint64) {
	for i := range args {
		args[i] = *regs.Arg(c.ABI, i)
	}
	return args
}

// openUndumpable looks at the open of a process whose memory nobody may read: it changed its ids. It is made dumpable for a moment, by calls
// in the place of its own, and then makes that anew.
func (s *supervisor) openUndumpable(t *task, c *spoofedCall, regs tracee.Registers) error {
	d := &decided{args: c.openArgs(&regs)}
	err := t.Quietly(func() error {
		was, err := t.Instead(c.ABI, regs, c.Prctl, unix.PR_GET_DUMPABLE, 0)
		if err != nil {
			return err
		}
		err = s.whileDumpable(t, c.ABI, regs, was, func() error {
			if o, err := s.opening(t, c, &regs); err == nil && o.flags&notReading == 0 && o.path != "" {
				d.file, d.cloexec = s.askedFile(t, o), o.cloexec()
			}
			return nil
		})
		back := regs
		back.Again(uint64(c.Nr))
		return errors.Join(err, t.SetRegisters(back))
	})
	if err != nil {
		return err
	}
	t.decided = d
	return t.Continue(0)
}

// ordinary reports whether, by one look, the file is none of the kernel's; what that cannot see, askedFile can.
// Nearly all files are ordinary.
func (s *supervisor) ordinary(t *task, o opening) bool {
	fd, known := s.sight.Glance(t.TID(), o.path, o.dirfd)
	if fd < 0 {
		return known
	}
	defer unix.Close(fd)
	return !kernelFile(fd)
}

// kernelFile tells a file of a /proc or a /sys.
func kernelFile(fd int) bool {
	var fs unix.Statfs_t
	return unix.Fstatfs(fd, &fs) == nil && (fs.Type == unix.PROC_SUPER_MAGIC || fs.Type == unix.SYSFS_MAGIC)
}

// askedFile is the file that the tracee asks for, if that is one of those that are told.
func (s *supervisor) askedFile(t *task, o opening) *toldFile {
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
	file := s.told(fd, &st)
	if file == nil || o.flags&unix.O_ACCMODE == unix.O_RDWR && strings.HasSuffix(file.Path, "/hostname") {
		return nil // who sets the host's name is to set it
	}
	return file
}

// named finds the kernel's file by its very name: of a process whose real and effective ids differ nobody without CAP_SYS_PTRACE may see more.
func (s *supervisor) named(name string) *toldFile {
	s.openTold()
	for _, f := range s.spoof.files {
		if f.Path == path.Clean(name) {
			return f
		}
	}
	return nil
}

// told finds the kernel's file that an O_PATH descriptor is. In another mount of /proc than ours it has another device, and a file of
// /proc/sys another inode; there it is known by the end of its path.
func (s *supervisor) told(fd int, st *unix.Stat_t) *toldFile {
	s.openTold()
	if !kernelFile(fd) {
		return nil
	}
	for _, f := range s.spoof.files {
		if f.ino != 0 && f.ino == st.Ino && f.dev == st.Dev {
			return f
		}
	}
	path, err := s.sight.PathOf(fd)
	if err != nil {
		return nil
	}
	for _, f := range s.spoof.files {
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

// openTold looks at the files of this machine, once.
func (s *supervisor) openTold() {
	if s.spoof.opened {
		return
	}
	s.spoof.opened = true
	for _, f := range s.spoof.identity.Files(readFile) {
		told := &toldFile{File: f, fd: -1}
		var st unix.Stat_t
		if unix.Stat(f.Path, &st) == nil {
			told.dev, told.ino = st.Dev, st.Ino
		}
		s.spoof.files = append(s.spoof.files, told)
	}
}

// make writes what the file says into memory, where nobody can change it any more.
func (f *toldFile) make() error {
	text, err := f.Text()
	if err != nil {
		return err
	}
	fd, err := unix.MemfdCreate(f.Path[strings.LastIndexByte(f.Path, '/')+1:], unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return os.NewSyscallError("memfd_create", err)
	}
	if n, err := unix.Write(fd, text); n != len(text) {
		unix.Close(fd)
		return fmt.Errorf("write %d bytes into memory: %d, %w", len(text), n, err)
	}
	const sealed = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	_ = unix.Fchmod(fd, 0o444)
	_, _ = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, sealed)
	f.fd = fd
	return nil
}

// giveFile makes the tracee's call give a descriptor of our file.
func (s *supervisor) giveFile(t *task, c *spoofedCall, regs tracee.Registers, file int, cloexec bool) error {
	fd, err := sys.Reopen(s.sight.Self, file, unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	given := [1]tracee.File{{FD: fd, CloseOnExec: cloexec}}
	back := regs
	err = t.Quietly(func() error {
		err := t.Give(c.ABI, regs, tracee.Entering, given[:])
		back.SetResult(int64(given[0].Number))
		if refused, ok := err.(*tracee.GiveError); ok {
			back.SetResult(-int64(refused.Errno))
		} else if err != nil {
			return err
		}
		back.Finished()
		return t.SetRegisters(back)
	})
	if err == tracee.ErrInterrupted {
		back = regs
		back.Again(uint64(c.Nr))
		err = t.SetRegisters(back)
	}
	if err != nil {
		return err
	}
	return t.Continue(0)
}

func readFile(path string) ([]byte, error) { return os.ReadFile(path) }
