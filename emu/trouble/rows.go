package trouble

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"binproxy/emu/elfinfo"
	"binproxy/emu/emulator"
	"binproxy/emu/probe"
	"binproxy/emu/route"
	"binproxy/emu/supervise"
	"binproxy/emu/sys"
)

// rows is the table, the likeliest trouble first.
var rows = [...]row{
	{
		// Every beginner sees this first. The kernel's answer to a native program is ENOENT; QEMU
		// starts, finds no loader, and ends with 255.
		name: "loader",
		suspects: func(d supervise.Death) bool {
			return d.Status.Exited() && d.Status.ExitStatus() == 255 && !slices.ContainsFunc(d.Env, namesRoot)
		},
		lacks: missingLoader,
		says: func(d supervise.Death, loader string) string {
			return fmt.Sprintf("%s seems to lack its loader, %s, here: run it in a root of its architecture (--root DIR; `binproxy bootstrap` makes one), "+
				"let QEMU_LD_PREFIX name one, or link the program statically", d.Path, loader)
		},
	},
	{
		// google/sanitizers issue 764. LeakSanitizer traces its own process at its end. That has a
		// tracer here, and no emulator knows how to trace. It ends with status 1, alone with 23.
		name:   "leaks",
		native: true,
		suspects: func(d supervise.Death) bool {
			return d.Status.Exited() && (d.ABI == nil || (d.Status.ExitStatus() == 1 || d.Status.ExitStatus() == 23) &&
				!slices.ContainsFunc(d.Env, withoutLeaks) && imports(d.File, "__asan_init", "__lsan_init"))
		},
		says: func(d supervise.Death, _ string) string {
			return fmt.Sprintf("%s may have ended since LeakSanitizer cannot trace it: it is traced already, or emulated; "+
				"set ASAN_OPTIONS=detect_leaks=0 for it (LSAN_OPTIONS with -fsanitize=leak)", d.Path)
		},
	},
	{
		// erlang/docker-erlang-otp issue 400. The JIT writes its code by another mapping than it
		// runs it by, and the emulator does not notice that the code has changed.
		name: "erlang",
		suspects: func(d supervise.Death) bool {
			return d.Status.Signaled() && d.Status.Signal() == unix.SIGSEGV && base(d) == "beam.smp"
		},
		says: func(d supervise.Death, _ string) string {
			return fmt.Sprintf("%s died of a segmentation fault: %s does not run the code of Erlang's JIT as it maps it; "+
				"set ERL_FLAGS=\"+JPperf true\" for it", d.Path, named(d))
		},
	},
	{
		// tonistiigi/binfmt issues 215, 231, 240 and 298: the emulator and the guest's heap are
		// placed on top of each other.
		name: "heap",
		suspects: func(d supervise.Death) bool {
			return d.Status.Signaled() && d.Status.Signal() == unix.SIGSEGV && (base(d) == "ldconfig" || base(d) == "ldconfig.real" || staticPIE(d.File) && !isGo(d.File))
		},
		says: func(d supervise.Death, _ string) string {
			return fmt.Sprintf("%s died of a segmentation fault in %s: several versions of QEMU place the heap of such programs (ldconfig of libc-bin above all) "+
				"wrongly on new kernels; take another version, newer first: --emulator FILE, or a bundle made with it", d.Path, named(d))
		},
	},
	{
		// balena-io/qemu issue 21. QEMU maps all of a 32-bit guest's address space when it starts,
		// and ends with status 1 if it cannot.
		name: "reserve",
		suspects: func(d supervise.Death) bool {
			return d.ABI.Class == 32 && d.Status.Exited() && d.Status.ExitStatus() == 1 && memoryIsLimited()
		},
		confirms: func(d supervise.Death) bool { return strings.Contains(trial(d), "Unable to reserve 0x") },
		says: func(d supervise.Death, _ string) string {
			return fmt.Sprintf("%s cannot start %s: it has to reserve 4 GiB of address space for a 32-bit guest, and may not; raise the limit "+
				"(ulimit -v unlimited), or vm.overcommit_memory=0 and vm.mmap_min_addr=65536 at most", named(d), d.Path)
		},
	},
	{
		// golang/go issue 36981.
		name: "preemption",
		suspects: func(d supervise.Death) bool {
			fatal := []unix.Signal{unix.SIGSEGV, unix.SIGBUS, unix.SIGILL, unix.SIGTRAP}
			return d.Status.Signaled() && slices.Contains(fatal, d.Status.Signal()) && isGo(d.File)
		},
		says: func(d supervise.Death, _ string) string {
			return fmt.Sprintf("%s, a Go program, died of signal %d: Go interrupts its own threads by signals, which %s does not always stand; "+
				"set GODEBUG=asyncpreemptoff=1 for it", d.Path, d.Status.Signal(), named(d))
		},
	},
	{
		// go-debos/debos pull request 704. ext4 numbers the places in a directory by hashes of 64
		// bits, of 32 only for the kernel's own 32-bit programs.
		name: "readdir",
		suspects: func(d supervise.Death) bool {
			return d.ABI.Class == 32 && d.Status.Exited() && hashes(d.File) && imports(d.File, "readdir")
		},
		says: func(d supervise.Death, _ string) string {
			return fmt.Sprintf("%s reads directories with offsets of 32 bits, and may have failed with EOVERFLOW (\"Value too large for defined data type\"): "+
				"those of ext4 have 64 for an emulator; build it with -D_FILE_OFFSET_BITS=64, or keep what it reads on another file system (tmpfs, xfs)", d.Path)
		},
	},
	{
		// docker/docker-ce-packaging pull request 1007: a filter from before Linux 6.6 answers
		// EPERM instead of ENOSYS.
		name: "fchmodat2",
		suspects: func(d supervise.Death) bool {
			return d.Status.Exited() && d.Status.ExitStatus() == 2 && slices.Contains([]string{"tar", "rpmuncompress"}, base(d))
		},
		confirms: func(supervise.Death) bool { return fchmodat2() == unix.EPERM },
		says: func(d supervise.Death, _ string) string {
			return fmt.Sprintf("%s failed where the seccomp filter of this container answers EPERM to fchmodat2, which it does not know ("+
				"\"Cannot change mode\"): update the host's Docker and libseccomp, or run with --security-opt seccomp=unconfined", d.Path)
		},
	},
}

func base(d supervise.Death) string { return path.Base(d.Path) }

// named names the emulator, with its version.
func named(d supervise.Death) string {
	name := path.Base(d.Emulator.Path)
	if v := d.Emulator.Version(); v != "" {
		name += " " + v
	}
	return name
}

// open opens a guest's program for reading. It waits neither for a pipe nor for a lease that the
// guest has on the file.
func open(file string) (*os.File, error) {
	f, err := os.OpenFile(file, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	if fi, err := f.Stat(); err != nil || !fi.Mode().IsRegular() {
		f.Close()
		return nil, errors.Join(err, fmt.Errorf("%s: not a regular file", file))
	}
	return f, nil
}

// staticPIE reports whether a file is a static program that can be loaded anywhere.
func staticPIE(file string) bool {
	f, err := open(file)
	if err != nil {
		return false
	}
	defer f.Close()
	info, err := elfinfo.Read(f)
	return err == nil && info.Type == elfinfo.TypeDyn && info.Static()
}

func namesRoot(entry string) bool {
	name, _, _ := strings.Cut(entry, "=")
	return emulator.NamesRoot(name)
}

func withoutLeaks(entry string) bool { return strings.Contains(entry, "detect_leaks=0") }

// missingLoader is the loader of a dynamic program if it is missing, both at its path and in each
// directory above the program, which may have been the root of the caller.
func missingLoader(d supervise.Death) string {
	f, err := open(d.File)
	if err != nil {
		return ""
	}
	defer f.Close()
	info, err := elfinfo.Read(f)
	if err != nil || !path.IsAbs(info.Interp) {
		return ""
	}
	for dir := path.Dir(d.Path); ; dir = path.Dir(dir) {
		if !errors.Is(lookIn(dir, info.Interp), fs.ErrNotExist) {
			return ""
		}
		if dir == "/" || dir == "." {
			return info.Interp
		}
	}
}

// lookIn looks a file up with dir as the root: a loader is often an absolute link.
func lookIn(dir, file string) error {
	root, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer root.Close()
	found, err := sys.OpenIn(root, file, unix.O_PATH)
	if err == nil {
		found.Close()
	}
	return err
}

// maxNames is how much of a program is read to find the names that it imports, which are near its
// beginning.
const maxNames = 256 << 10

// imports reports whether one of the names stands in a program's first bytes, as those of a
// dynamic program's functions do.
func imports(file string, names ...string) bool {
	f, err := open(file)
	if err != nil {
		return false
	}
	defer f.Close()
	text, _ := io.ReadAll(io.LimitReader(f, maxNames))
	return slices.ContainsFunc(names, func(name string) bool { return bytes.Contains(text, []byte("\x00"+name+"\x00")) })
}

// hashes reports whether a file is on ext4, or on an overlay, which may be.
func hashes(file string) bool {
	var fs unix.Statfs_t
	err := unix.Statfs(file, &fs)
	return err == nil && (fs.Type == unix.EXT4_SUPER_MAGIC || fs.Type == unix.OVERLAYFS_SUPER_MAGIC)
}

// isGo reports whether a file is a Go program, by the note that Go's linker writes.
func isGo(file string) bool {
	f, err := open(file)
	if err != nil {
		return false
	}
	defer f.Close()
	notes, _ := elfinfo.Notes(f)
	return slices.ContainsFunc(notes, func(n elfinfo.Note) bool { return n.Name == "Go" })
}

// memoryIsLimited reports whether a setting could refuse to map 4 GiB from a low address on.
func memoryIsLimited() bool {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_AS, &limit) == nil && limit.Cur != unix.RLIM_INFINITY {
		return true
	}
	setting := func(name string) string {
		text, _ := os.ReadFile("/proc/sys/vm/" + name)
		return strings.TrimSpace(string(text))
	}
	lowest := setting("mmap_min_addr")
	return setting("overcommit_memory") == "2" || len(lowest) > len("65536") || len(lowest) == len("65536") && lowest > "65536"
}

// trial is the emulator's output when it has to run the smallest program.
func trial(d supervise.Death) string {
	program, err := route.InMemory(d.ABI)
	if err != nil {
		return ""
	}
	defer program.Close()
	said, _, _ := probe.Trial(d.Emulator, program)
	return said
}

// fchmodat2 is the errno of fchmodat2 for no file: EBADF or the like where the call is known,
// ENOSYS where it is not.
func fchmodat2() error { return unix.Fchmodat(-1, "x", 0, unix.AT_SYMLINK_NOFOLLOW) }
