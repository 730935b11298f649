package uml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/u-root/u-root/pkg/ldd"
	"golang.org/x/sys/unix"

	"binproxy/emu/arch"
	"binproxy/emu/elfinfo"
	"binproxy/emu/sys"
)

// A Kernel is a User Mode Linux kernel's file and what it says of itself.
type Kernel struct {
	Path    string
	Release string

	libs []string // what it is linked with: file and name of each
}

// debianKernel is the file of Debian's package user-mode-linux, and debianModules where it has its modules.
const (
	debianKernel  = "/usr/bin/linux.uml"
	debianModules = "/usr/lib/uml/modules"
)

// Find finds a kernel: a file where the name has a slash, the one of that release, or without a name the newest of our own that runs on this
// CPU, else Debian's.
func Find(name string) (*Kernel, error) {
	if strings.Contains(name, "/") {
		return Open(name)
	}
	if name == "" {
		return findAny()
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

// findAny finds the first that runs here.
func findAny() (*Kernel, error) {
	var cannot error
	for _, path := range candidates() {
		k, err := Open(path)
		if err != nil {
			return nil, err
		}
		if err := k.RunsHere(); err == nil {
			return k, nil
		} else if cannot == nil {
			cannot = err
		}
	}
	if cannot != nil {
		return nil, cannot
	}
	return nil, fmt.Errorf("no User Mode Linux kernel: make one with binproxy uml kernel build, or install Debian's package user-mode-linux (%s)", debianKernel)
}

// Kernels lists those that are found without a path.
func Kernels() []*Kernel {
	var kernels []*Kernel
	for _, path := range candidates() {
		if k, err := Open(path); err == nil {
			kernels = append(kernels, k)
		}
	}
	return kernels
}

// candidates are the files that a kernel may be in: those built, the newest release first, then Debian's.
func candidates() []string {
	var paths []string
	if dir, err := CacheDir(); err == nil {
		paths, _ = filepath.Glob(filepath.Join(dir, "*", "linux"))
		slices.SortFunc(paths, func(a, b string) int {
			return compareReleases(filepath.Base(filepath.Dir(b)), filepath.Base(filepath.Dir(a)))
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

// CacheDir is where the kernels that were built are, each in a directory with the name of its release.
func CacheDir() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no cache directory: %w", err)
	}
	return filepath.Join(cache, "binproxy", "uml"), nil
}

// Open looks at a kernel's file: that it is one, what release it is, and that a kernel may trace its processes here.
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
	out, err := traced(k.Path, "--version")
	if err != nil {
		return nil, err
	}
	k.Release = strings.TrimSpace(out)
	if n := numbers(k.Release); len(n) < 2 || k.Release[0] < '0' || k.Release[0] > '9' || strings.ContainsAny(k.Release, " \n") {
		return nil, fmt.Errorf("kernel %s: not a User Mode Linux kernel: asked for its version, it says %.40q", path, out)
	}
	if k.libs, err = libraries(k.Path); err != nil {
		return nil, fmt.Errorf("kernel %s: its libraries: %w", path, err)
	}
	return k, nil
}

// checkKernelFile tells files that are no kernel for this host apart by reading them.
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

// traced runs a program as a tracee, as a kernel runs its processes, and returns what it prints. Where that is refused,
// no kernel can work.
func traced(path string, args ...string) (string, error) {
	runtime.LockOSThread() // ptrace knows threads
	defer runtime.UnlockOSThread()
	var out bytes.Buffer
	cmd := exec.Command(path, args...)
	cmd.Env, cmd.Stdout = []string{"HOME=/"}, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := cmd.Start(); err != nil {
		plain := exec.Command(path, args...)
		if plain.Run() == nil {
			return "", fmt.Errorf("ptrace is refused (%w), by which a User Mode Linux kernel runs its processes: a seccomp profile or security module of this container or host forbids it", err)
		}
		return "", fmt.Errorf("kernel %w", err)
	}
	var ws syscall.WaitStatus
	if _, err := syscall.Wait4(cmd.Process.Pid, &ws, 0, nil); err != nil || !ws.Stopped() {
		return "", fmt.Errorf("ptrace: %s did not stop at its start", path)
	}
	if err := syscall.PtraceDetach(cmd.Process.Pid); err != nil {
		cmd.Process.Kill()
		cmd.Wait()
		return "", fmt.Errorf("ptrace: let %s go: %w", path, err)
	}
	cmd.Wait()
	return out.String(), nil
}

// libraries lists the loader and the libraries of a dynamic program: for each the file, and the name it is asked for by.
func libraries(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := readELF(f); err != nil || info.Static() {
		return nil, err
	}
	names, err := ldd.List(path)
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

// Config is the configuration that the kernel was built with: option without CONFIG_ -> y, m or a value.
func (k *Kernel) Config() (map[string]string, error) {
	cmd := exec.Command(k.Path, "--showconfig")
	cmd.Env = []string{"HOME=/"}
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("kernel %s --showconfig: %w", k.Path, err)
	}
	config := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if option, value, set := strings.Cut(strings.TrimSpace(line), "="); set && option[0] != '#' {
			config[strings.TrimPrefix(option, "CONFIG_")] = value
		}
	}
	return config, nil
}

// modulesFor finds the modules that the job needs and the kernel does not have built in. A kernel without a directory of modules has
// all of them built in, or lacks them: its mount then says so.
func (k *Kernel) modulesFor(j *job) ([]string, error) {
	dir := filepath.Join(debianModules, k.Release)
	index, err := os.ReadFile(filepath.Join(dir, "modules.dep"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	names := []string{"overlay"}
	if j.Mode == modeRW {
		names = nil
	}
	if j.Arch != "" {
		names = append(names, "binfmt_misc")
	}
	var paths []string
	for _, name := range names {
		for _, path := range dependencies(string(index), name) {
			if path = filepath.Join(dir, path); !slices.Contains(paths, path) {
				paths = append(paths, path)
			}
		}
	}
	return paths, nil
}

// dependencies finds a module and those that it needs in the text of modules.dep, in the order of their loading.
func dependencies(index, name string) []string {
	for line := range strings.Lines(index) {
		path, needs, _ := strings.Cut(strings.TrimSpace(line), ":")
		if filepath.Base(path) == name+".ko" {
			order := strings.Fields(needs)
			slices.Reverse(order) // the last is needed by those before it
			return append(order, path)
		}
	}
	return nil
}

// A Feature is something of a kernel that binproxy uses: the option, and what does not work without it.
type Feature struct {
	Name, Option, Without string
}

// Features lists them.
var Features = []Feature{
	{"hostfs", "HOSTFS", "cannot run at all: the root is a directory of the host"},
	{"overlay", "OVERLAY_FS", "no --overlay, and no root without all the directories to mount on"},
	{"binfmt_misc", "BINFMT_MISC", "no --arch"},
	{"vector", "UML_NET_VECTOR", "no slirp4netns: --net uses slirp, without --publish"},
	{"slirp", "UML_NET_SLIRP", "no --net=slirp"},
	{"devtmpfs", "DEVTMPFS", "cannot run at all: no /dev"},
	{"seccomp", "SECCOMP_FILTER", "no seccomp filters in the guest"},
	{"user_ns", "USER_NS", "no user namespaces in the guest"},
	{"ipv6", "IPV6", "no IPv6 in the guest"},
	{"fuse", "FUSE_FS", "no FUSE in the guest"},
}

// A FeatureState is a feature, and how a kernel has it.
type FeatureState struct{ Name, State string }

// Describe tells whether the kernel runs on this CPU, and for each feature whether it has it and what it cannot do without.
func (k *Kernel) Describe() ([]FeatureState, error) {
	config, err := k.Config()
	if err != nil {
		return nil, err
	}
	states := []FeatureState{{"this CPU", "yes"}}
	if err := runsOn(k.Release, hostRegisters()); err != nil {
		states[0].State = fmt.Sprintf("no: %v; %s", err, another)
	}
	for _, f := range Features {
		state := "no: " + f.Without
		switch config[f.Option] {
		case "y":
			state = "yes"
		case "m":
			state = "as a module: " + f.Without
			index, _ := os.ReadFile(filepath.Join(debianModules, k.Release, "modules.dep"))
			for _, name := range []string{f.Name, strings.ToLower(strings.TrimSuffix(f.Option, "_FS"))} {
				if dependencies(string(index), name) != nil {
					state = "as a module, in " + filepath.Join(debianModules, k.Release)
				}
			}
		}
		states = append(states, FeatureState{f.Name, state})
	}
	return states, nil
}
