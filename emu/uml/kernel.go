package uml

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"binproxy/emu/arch"
	"binproxy/emu/elfinfo"
	"binproxy/emu/loader"
	"binproxy/emu/sys"
)

// A Kernel is a User Mode Linux kernel's file and what it reports about itself.
type Kernel struct {
	Path    string
	Release string

	loader  string   // the loader of its own directory, if that has one
	libs    []string // what it is linked with: file and name of each
	modules string   // the directory of its modules, which has a directory for each release
}

// debianKernel is the file of Debian's package user-mode-linux, and debianModules the directory of
// its modules.
const (
	debianKernel  = "/usr/bin/linux.uml"
	debianModules = "/usr/lib/uml/modules"
)

// A kernel of another release of the distribution has files of that release beside it: its loader
// and libraries, and its modules.
const (
	ownLibs    = "lib"
	ownModules = "modules"
)

// Find finds a kernel. A name with a slash is a file; another name is a release. Without a name it
// is our newest one that is not known to fail here, else Debian's.
func Find(name string) (*Kernel, error) { return find(name, (*Kernel).RunsHere) }

// find is Find with another check for what it may choose by itself.
func find(name string, check func(*Kernel) error) (*Kernel, error) {
	if strings.Contains(name, "/") {
		return Open(name)
	}
	if name == "" {
		return findAny(check)
	}
	paths := candidates()
	for _, path := range paths {
		if filepath.Base(filepath.Dir(path)) == name {
			return Open(path)
		}
	}
	for _, path := range paths {
		if k, err := Open(path); err == nil && k.Release == name {
			return k, nil
		}
	}
	return nil, fmt.Errorf("no kernel %s; see binproxy uml kernel list", name)
}

// findAny finds the first that passes the check. If none does, it returns the first one's error.
func findAny(check func(*Kernel) error) (*Kernel, error) {
	if err := forHost(); err != nil {
		return nil, err
	}
	var cannot error
	for _, path := range candidates() {
		k, err := Open(path)
		if err == nil {
			err = check(k)
		}
		if err == nil {
			return k, nil
		}
		cannot = cmp.Or(cannot, err)
	}
	if cannot != nil {
		return nil, cannot
	}
	return nil, fmt.Errorf("no User Mode Linux kernel: make one with binproxy uml kernel build, get one with binproxy uml kernel fetch, or install Debian's package user-mode-linux (%s)", debianKernel)
}

// forHost refuses a host that no kernel of User Mode Linux is for.
func forHost() error {
	if host := arch.Host(); host.GOARCH != hostArch {
		return fmt.Errorf("not here: User Mode Linux is a kernel for x86 hosts, and this one is %s", host.Name)
	}
	return nil
}

// Kernels lists the kernels that are found without a path.
func Kernels() []*Kernel {
	var kernels []*Kernel
	for _, path := range candidates() {
		if k, err := Open(path); err == nil {
			kernels = append(kernels, k)
		}
	}
	return kernels
}

// candidates are the files that a kernel may be in: first the built ones, the newest release
// first, then the fetched ones, then Debian's.
func candidates() []string {
	var paths []string
	if dir, err := CacheDir(); err == nil {
		paths, _ = filepath.Glob(filepath.Join(dir, "*", "linux"))
		slices.SortFunc(paths, func(a, b string) int {
			a, b = filepath.Base(filepath.Dir(a)), filepath.Base(filepath.Dir(b))
			switch fetchedA, fetchedB := strings.HasPrefix(a, kernelPackage), strings.HasPrefix(b, kernelPackage); {
			case fetchedA && !fetchedB:
				return 1
			case fetchedB && !fetchedA:
				return -1
			}
			return compareReleases(b, a)
		})
	}
	if _, err := os.Stat(debianKernel); err == nil {
		paths = append(paths, debianKernel)
	}
	return paths
}

// compareReleases orders releases by their numbers.
func compareReleases(a, b string) int {
	return slices.Compare(numbers(a), numbers(b))
}

func numbers(release string) []int {
	var n []int
	for _, part := range strings.FieldsFunc(release, func(r rune) bool { return r < '0' || r > '9' }) {
		v, _ := strconv.Atoi(part)
		n = append(n, v)
	}
	return n
}

// CacheDir is the directory of the kernels. Each built one is in a directory with the name of its
// release, each fetched one in a directory with the names of the packages.
func CacheDir() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no cache directory: %w", err)
	}
	return filepath.Join(cache, "binproxy", "uml"), nil
}

// Open checks a kernel's file: whether it is a kernel, and which release it is.
func Open(path string) (*Kernel, error) {
	if err := checkKernelFile(path); err != nil {
		return nil, err
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	k := &Kernel{Path: abs}
	if k.Path, err = filepath.EvalSymlinks(abs); err != nil {
		return nil, err
	}
	if err := k.findNeeds(); err != nil {
		return nil, fmt.Errorf("kernel %s: its libraries: %w", path, err)
	}
	out, said, err := k.ask("--version")
	if _, ran := err.(*exec.ExitError); err != nil && !ran {
		return nil, fmt.Errorf("kernel %w", err)
	}
	k.Release = strings.TrimSpace(out)
	if n := numbers(k.Release); len(n) < 2 || k.Release[0] < '0' || k.Release[0] > '9' || strings.ContainsAny(k.Release, " \n") {
		return nil, notKernel(path, out, said)
	}
	return k, nil
}

// notKernel is the error for a program that did not print its release. Its standard error has the
// reasons of a loader, or of a kernel.
func notKernel(path, out, said string) error {
	if said = strings.TrimSpace(said); strings.TrimSpace(out) == "" && said != "" {
		return fmt.Errorf("kernel %s: asked for its version, it says nothing but %.300q; "+
			"a kernel that needs other libraries than this machine has can be had, with those, by binproxy uml kernel fetch", path, said)
	}
	return fmt.Errorf("kernel %s: not a User Mode Linux kernel: asked for its version, it says %.40q", path, out)
}

// findNeeds finds the loader, the libraries and the modules. They are beside the kernel if its
// loader is there (a kernel's source also has a directory lib), else they are the machine's. In
// the jail, the kernel's own libraries are where every loader looks.
func (k *Kernel) findNeeds() error {
	k.modules = debianModules
	interp, err := interpreter(k.Path)
	if err != nil {
		return err
	}
	dir := filepath.Dir(k.Path)
	loader := filepath.Join(dir, ownLibs, filepath.Base(interp))
	if fi, err := os.Stat(loader); interp == "" || err != nil || !fi.Mode().IsRegular() {
		k.libs, err = libraries(k.Path)
		return err
	}
	own, err := os.ReadDir(filepath.Dir(loader))
	if err != nil {
		return err
	}
	k.loader, k.modules = loader, filepath.Join(dir, ownModules)
	for _, lib := range own {
		file, name := filepath.Join(dir, ownLibs, lib.Name()), filepath.Join("/lib", lib.Name())
		if file == loader {
			name = interp
		}
		k.libs = append(k.libs, file, name)
	}
	return nil
}

// interpreter is the loader that a program names.
func interpreter(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := readELF(f)
	return info.Interp, err
}

// checkKernelFile reads a file and recognises those that are no kernel for this host.
func checkKernelFile(path string) error {
	fi, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("kernel %s: %w; binproxy uml kernel list shows those that are there", path, sys.Errno(err))
	}
	if !fi.Mode().IsRegular() {
		return fmt.Errorf("kernel %s: not a file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("kernel %w", err)
	}
	defer f.Close()
	head := make([]byte, 0x206)
	n, _ := io.ReadFull(f, head)
	if n == len(head) && string(head[0x202:]) == "HdrS" {
		return fmt.Errorf("kernel %s: a kernel for a machine of its own (a bzImage), not a User Mode Linux kernel, which is a program", path)
	}
	info, err := readELF(f)
	switch {
	case errors.Is(err, elfinfo.ErrNotELF):
		return fmt.Errorf("kernel %s: not a User Mode Linux kernel: not a program", path)
	case err != nil:
		return fmt.Errorf("kernel %s: %w", path, err)
	case info.ABI() != arch.Host() || !info.Executable():
		return fmt.Errorf("kernel %s: not a program for this host, %s", path, arch.Host().Name)
	}
	return wrap(unix.Access(path, unix.X_OK), "kernel %s: may not be executed", path)
}

func readELF(f *os.File) (elfinfo.Info, error) { return elfinfo.Read(f) }

// start prepares a run of the kernel's program on the host, by its own loader if it has one, and
// calls run. A kernel wants fixed addresses; if it can have them and does not, it execs
// /proc/self/exe, which would be the loader. So start sets fixed addresses first.
func (k *Kernel) start(args []string, run func(cmd *exec.Cmd) error) error {
	argv := append([]string{k.Path}, args...)
	if k.loader != "" {
		argv = append([]string{k.loader, "--library-path", filepath.Dir(k.loader)}, argv...)
		// If that is refused, it is also refused to the kernel.
		if restore, err := sys.FixAddresses(); err == nil {
			defer restore()
		}
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = []string{"HOME=/"}
	return run(cmd)
}

// ask runs the kernel's program on the host, and returns what it prints.
func (k *Kernel) ask(question string) (stdout, stderr string, err error) {
	runtime.LockOSThread() // the address layout is set for a thread
	defer runtime.UnlockOSThread()
	var out, said bytes.Buffer
	err = k.start([]string{question}, func(cmd *exec.Cmd) error {
		cmd.Stdout, cmd.Stderr = &out, &said
		return cmd.Run()
	})
	return out.String(), said.String(), err
}

// traceable runs the kernel's program as a tracee, as a kernel runs its processes. If that is
// refused, kernels can work in the seccomp mode only.
func (k *Kernel) traceable() error {
	runtime.LockOSThread() // ptrace works by thread
	defer runtime.UnlockOSThread()
	return k.start([]string{"--version"}, func(cmd *exec.Cmd) error {
		cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
		if err := cmd.Start(); err != nil {
			if why := sys.Untraceable(err); why != err {
				return fmt.Errorf("%w; or run the guest's processes without ptrace: --seccomp", why)
			}
			// Without ptrace, the program has run before (Open).
			return fmt.Errorf("ptrace is refused (%w), by which a User Mode Linux kernel runs its processes: "+
				"a seccomp profile or security module of this container or host forbids it; --seccomp does without", err)
		}
		if _, ws, err := sys.WaitChild(cmd.Process.Pid, 0); err != nil || !ws.Stopped() {
			return fmt.Errorf("ptrace: %s did not stop at its start", k.Path)
		}
		if err := syscall.PtraceDetach(cmd.Process.Pid); err != nil {
			cmd.Process.Kill()
			cmd.Wait()
			return fmt.Errorf("ptrace: let %s go: %w", k.Path, err)
		}
		cmd.Wait()
		return nil
	})
}

// libraries lists the loader and the libraries of a dynamic program: for each the file, and the
// name by which it is needed.
func libraries(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := readELF(f); err != nil || info.Static() {
		return nil, err
	}
	names, err := loader.Libraries(path)
	if err != nil {
		return nil, err
	}
	var libs []string
	for _, name := range names {
		file, err := filepath.EvalSymlinks(name)
		if err != nil {
			return nil, fmt.Errorf("a library that it needs is not found on this machine (see ldd %s): %w", path, err)
		}
		libs = append(libs, file, name)
	}
	return libs, nil
}
