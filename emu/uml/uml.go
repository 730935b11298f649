// Package uml runs a command under a kernel of its own: User Mode Linux, which runs as an ordinary
// user on a directory of the host.
//
// Three processes of binproxy take part.
//
// The host side (Run) holds the caller's standard input, output, error and terminal. It starts the
// jail.
//
// The jail (Jail) is PID 1 of a mount, PID, network and IPC namespace, in a user namespace where
// the caller is not root. Its root is a tmpfs with the kernel, its libraries, the guest's root and
// the bound files. It contains nothing else of the host, because a guest can mount by hostfs
// whatever its kernel's process can open.
//
// The kernel boots on a directory of that tmpfs, where init is binproxy again (Guest). It mounts
// the guest's root and what programs expect, runs the command, reaps, and powers off with the
// status.
//
// The command's words are in a file. Its bytes go over raw consoles of the kernel, each a pipe of
// the host side. One more console is for control: signals, the window's size, the end of the
// input, and the status back.
//
// Nothing is left behind: all mounts end with the namespaces, and the namespaces end with the host
// side.
package uml

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"binproxy/emu/arch"
	"binproxy/emu/binfmt"
	"binproxy/emu/exit"
)

// Options describe one run. The zero value of a field means its default.
type Options struct {
	Kernel   string // a file, or a release that Kernels lists; default: the newest of them
	Root     string // default: /
	Mem      int    // MiB, default DefaultMem
	MemDir   string // the directory of the guest's memory; default: a tmpfs of its own
	Mode     Mode
	Upper    string // keep the overlay's layer in this directory
	Net      Transport
	Publish  []Publish
	Binds    []Bind
	Arch     *arch.ABI // run programs of this ABI, by an emulator
	Emulator string    // default: search for it
	Timeout  time.Duration
	Seccomp  bool     // run the guest's processes by seccomp, not by ptrace
	Append   []string // more words of the kernel's command line
	Command  []string // default: a shell
}

// DefaultMem is the guest's memory, MinMem the least with which it boots, in MiB. With 32, of
// which some 5 are free at the end of its boot, one boot in 50 of Debian's kernel ran out of
// memory: it reserves 4 more after it has mixed movable pages with others
// (vm.watermark_boost_factor).
const (
	DefaultMem = 64
	MinMem     = 40
)

// Mode is how the guest sees the root.
type Mode int

// The modes. The default is an overlay for an ordinary user and a read-only view for root.
const (
	Default Mode = iota
	ReadOnly
	Overlay
	ReadWrite
)

// Bind shows a directory or file of the host in the guest.
type Bind struct {
	Src, Dst string
	ReadOnly bool
}

// Run boots the kernel, runs the command and returns its status as an error of emu/exit: nil for
// 0.
func Run(o Options) error {
	if err := forHost(); err != nil {
		return exit.With(exit.Failed, fmt.Errorf("uml: %w", err))
	}
	j, k, err := o.job()
	if err != nil {
		return exit.With(exit.Failed, fmt.Errorf("uml: %w", err))
	}
	h := &host{options: o, job: j, kernel: k}
	return h.run()
}

// job checks everything that can be checked before the boot, with one message for each fault.
func (o *Options) job() (*job, *Kernel, error) {
	j := &job{Hostname: hostname(), Argv: o.Command, TTY: terminals()}
	j.Umask = syscall.Umask(0)
	syscall.Umask(j.Umask)
	j.Dir, _ = os.Getwd()
	k, err := o.kernel()
	if err != nil {
		return nil, nil, err
	}
	j.Kernel, j.Libs = k.Path, k.libs
	for _, check := range []func(*job) error{o.setSelf, o.setMem, o.setRoot, o.setBinds, o.setArch} {
		if err := check(j); err != nil {
			return nil, nil, err
		}
	}
	if o.Net != None {
		if err := o.setNet(j, k); err != nil {
			return nil, nil, err
		}
	}
	if o.Net == None && len(o.Publish) > 0 {
		return nil, nil, errors.New("--publish needs --net")
	}
	j.Modules, err = k.modulesFor(j)
	return j, k, err
}

// kernel finds the kernel, and checks that it can run here the guest's processes as asked.
func (o *Options) kernel() (*Kernel, error) {
	check, choose := (*Kernel).RunsHere, (*Kernel).mayRun
	if o.Seccomp {
		check, choose = (*Kernel).seccomps, (*Kernel).seccomps
	} else if len(candidates()) < 2 {
		choose = check
	}
	k, err := find(o.Kernel, choose)
	if err == nil {
		err = check(k)
	}
	if err == nil && !o.Seccomp {
		err = k.traceable()
	}
	return k, err
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "uml"
	}
	return name
}

// setSelf finds the file that will be PID 1.
func (o *Options) setSelf(j *job) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("no init: this program's own file is to be the guest's PID 1, and it cannot be found: %w", err)
	}
	f, err := os.Open(self)
	if err != nil {
		return fmt.Errorf("no init: this program's own file is to be the guest's PID 1: %w", err)
	}
	defer f.Close()
	j.Self = self
	info, err := readELF(f)
	if err != nil || !info.Static() {
		return fmt.Errorf("no init: %s is to be the guest's PID 1 and is not statically linked; build it with CGO_ENABLED=0", self)
	}
	return nil
}

// setMem checks the memory's size, and its directory if the caller chose one.
func (o *Options) setMem(j *job) error {
	j.Mem, j.MemDir = o.Mem, o.MemDir
	if j.Mem == 0 {
		j.Mem = DefaultMem
	}
	if j.Mem < MinMem {
		return fmt.Errorf("--mem %dM: the kernel does not boot with less than %dM", j.Mem, MinMem)
	}
	if o.MemDir == "" {
		var info unix.Sysinfo_t
		if err := unix.Sysinfo(&info); err == nil {
			if has := (uint64(info.Totalram) + uint64(info.Totalswap)) * uint64(info.Unit) >> 20; uint64(j.Mem) > has {
				return fmt.Errorf("--mem %dM: this machine has %dM of memory and swap", j.Mem, has)
			}
		}
		return nil
	}
	var err error
	if j.MemDir, err = directory(o.MemDir); err != nil {
		return fmt.Errorf("--memdir %w", err)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(j.MemDir, &st); err != nil {
		return fmt.Errorf("--memdir %s: %w", o.MemDir, err)
	}
	if st.Flags&unix.ST_NOEXEC != 0 {
		return fmt.Errorf("--memdir %s is on a file system mounted noexec, and the guest's programs run from its memory; choose another, or leave it out", o.MemDir)
	}
	if free := st.Bavail * uint64(st.Bsize) >> 20; free < uint64(j.Mem) {
		return fmt.Errorf("--memdir %s has %dM free, too little for --mem %dM", o.MemDir, free, j.Mem)
	}
	if err := unix.Access(j.MemDir, unix.W_OK); err != nil {
		return fmt.Errorf("--memdir %s: no file can be made there: %w", o.MemDir, err)
	}
	return nil
}

// directory is the absolute path of a directory, without links.
func directory(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(abs)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, errors.Unwrap(err))
	}
	if fi, err := os.Stat(real); err != nil || !fi.IsDir() {
		return "", fmt.Errorf("%s: not a directory", path)
	}
	return real, nil
}

func (o *Options) setRoot(j *job) error {
	path := o.Root
	if path == "" {
		path = "/"
	}
	var err error
	if j.Root, err = directory(path); err != nil {
		return fmt.Errorf("--root %w", err)
	}
	if err := unix.Access(j.Root, unix.R_OK|unix.X_OK); err != nil {
		return fmt.Errorf("--root %s: %w", path, err)
	}
	mode := o.Mode
	switch {
	case mode == Default && (o.Upper != "" || os.Geteuid() != 0):
		mode = Overlay
	case mode == Default:
		mode = ReadOnly
	case o.Upper != "" && mode != Overlay:
		return errors.New("--upper keeps the layer of an overlay; it does not go with --ro or --rw")
	}
	j.Mode = [...]string{ReadOnly: modeRO, Overlay: modeOverlay, ReadWrite: modeRW}[mode]
	// An ordinary user is the guest's root, and every other user of the host is the guest's
	// nobody: a set-user-ID program of the host's root would turn the guest's root into nobody.
	var st unix.Stat_t
	if err := unix.Stat(j.Root, &st); err == nil && os.Geteuid() != 0 && int(st.Uid) != os.Geteuid() {
		j.NoSuid = 1
	}
	if o.Upper != "" {
		if j.LayerDir, err = directory(o.Upper); err != nil {
			return fmt.Errorf("--upper %w", err)
		}
		if err := unix.Access(j.LayerDir, unix.W_OK); err != nil {
			return fmt.Errorf("--upper %s: the layer cannot be kept there: %w", o.Upper, err)
		}
	}
	return nil
}

func (o *Options) setBinds(j *job) error {
	for _, b := range o.Binds {
		src, err := filepath.Abs(b.Src)
		if err == nil {
			src, err = filepath.EvalSymlinks(src)
		}
		if err != nil {
			return fmt.Errorf("--bind %s: %w", b.Src, err)
		}
		if !filepath.IsAbs(b.Dst) || filepath.Clean(b.Dst) == "/" {
			return fmt.Errorf("--bind %s:%s: the place in the guest has to be an absolute path below /", b.Src, b.Dst)
		}
		access := modeRW
		if b.ReadOnly {
			access = modeRO
		}
		j.Binds = append(j.Binds, src, filepath.Clean(b.Dst), access)
	}
	return nil
}

// setArch finds the emulator for a foreign ABI. It becomes an entry of the guest's binfmt_misc.
func (o *Options) setArch(j *job) error {
	if o.Arch == nil || o.Arch == arch.Host() {
		return nil
	}
	path, err := binfmt.Emulator(o.Arch, o.Emulator)
	if err != nil {
		return err
	}
	j.Arch = o.Arch.Name
	j.Emulator, err = filepath.EvalSymlinks(path)
	return err
}

// terminals has a bit for each standard file descriptor that is a terminal.
func terminals() int {
	bits := 0
	for fd := range 3 {
		if _, err := unix.IoctlGetTermios(fd, unix.TCGETS); err == nil {
			bits |= 1 << fd
		}
	}
	return bits
}

// logTail keeps the last bytes of the kernel's log.
type logTail struct {
	text []byte
	done chan struct{}
}

const logSize = 64 << 10

// follow reads the log until its writers have ended.
func (l *logTail) follow(r io.Reader) {
	defer close(l.done)
	buf := make([]byte, 4096)
	for {
		n, err := r.Read(buf)
		l.text = append(l.text, buf[:n]...)
		if len(l.text) > 2*logSize {
			l.text = append(l.text[:0], l.text[len(l.text)-logSize:]...)
		}
		if err != nil {
			return
		}
	}
}

// last returns the log's last n lines after its end. If the kernel panicked, these are the lines
// before the dump of stack and registers.
func (l *logTail) last(n int) string {
	<-l.done
	lines := strings.Split(strings.TrimSpace(strings.ReplaceAll(string(l.text), "\r", "")), "\n")
	for i := range lines {
		if strings.Contains(lines[i], "Kernel panic") {
			lines = lines[:i+1]
			break
		}
	}
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
