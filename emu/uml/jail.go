package uml

import (
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

	"golang.org/x/sys/unix"

	"binproxy/emu/entrypoint"
	"binproxy/emu/exit"
	"binproxy/emu/sys"
)

// These are the file descriptors of the jail and of the kernel. The jail's standard input brings
// no data: its end means the end of the host side. Standard output and error are the kernel's log.
const (
	fdControlIn = 3 + iota
	fdControlOut
	fdStdout
	fdStderr
	fdNet // only with --net

	// The jail's own, for the host side: the directory for standard input.
	fdInput = 63
)

// The jail's directories are what a guest sees of the host if it mounts hostfs itself.
const (
	jailOld  = "/old"  // the host's root, until it is detached
	jailBoot = "/boot" // the guest's first root
	jailRoot = "/root"
	jailBind = "/bind" // one directory for each --bind
	jailTemp = "/tmp"  // the guest's memory
	jailKeep = "/layer"
)

// Jail is PID 1 of the namespaces that a kernel runs in. It builds their root from what the job
// names, detaches the host's root, runs the kernel, and ends with the kernel's exit status. When
// it ends, by itself or because the host side has ended, everything in the namespaces ends.
func Jail(words []string) error {
	j := new(job)
	if err := entrypoint.Read(words, j); err != nil {
		return err
	}
	status, err := j.jail()
	if err != nil {
		fmt.Fprintf(os.NewFile(fdControlOut, "control"), "error 125 %q\n", err)
		status = exit.Failed
	}
	return exit.Silent(status)
}

func (j *job) jail() (int, error) {
	runtime.LockOSThread() // rights are dropped for this thread
	runtime.GOMAXPROCS(2)
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(exit.Failed)
	}()
	j.Env = os.Environ()
	for _, step := range []func() error{j.keepInherited, j.enterRoot, j.fillRoot, openInput, leaveHost, j.dropRights, j.refuseSockets} {
		if err := step(); err != nil {
			return 0, err
		}
	}
	return j.runKernel()
}

// enterRoot makes a tmpfs the root, with the host at jailOld. It mounts the tmpfs over /proc,
// which every host has; only this process sees that.
func (j *job) enterRoot() error {
	if err := mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	size := "8m"
	if j.MemDir == "" {
		size = fmt.Sprintf("%dm", j.Mem+32)
	}
	if err := mount("tmpfs", "/proc", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755,size="+size); err != nil {
		return err
	}
	if err := os.Mkdir("/proc"+jailOld, 0o755); err != nil {
		return err
	}
	if err := unix.PivotRoot("/proc", "/proc"+jailOld); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	return os.Chdir("/")
}

// fillRoot binds the job's files into the root.
func (j *job) fillRoot() error {
	for _, dir := range []string{"dev", "proc", "lower", "layer", "new", inputDir} {
		if err := os.MkdirAll(filepath.Join(jailBoot, dir), 0o755); err != nil {
			return err
		}
	}
	text, err := entrypoint.Pack(j)
	if err != nil {
		return err
	}
	if err := os.WriteFile(jailBoot+jobFile, text, 0o600); err != nil {
		return err
	}
	if err := j.bindFiles(); err != nil {
		return err
	}
	if err := bindTree(j.Root, jailRoot, j.Mode != modeRW); err != nil {
		return err
	}
	for n, b := range slices.Collect(slices.Chunk(j.Binds, 3)) {
		if err := bindOne(b[0], filepath.Join(jailBind, strconv.Itoa(n)), b[2] == modeRO); err != nil {
			return err
		}
	}
	if j.LayerDir != "" {
		if err := bindTree(j.LayerDir, jailKeep, false); err != nil {
			return err
		}
	}
	if j.MemDir != "" {
		return bindTree(j.MemDir, jailTemp, false)
	}
	return os.Mkdir(jailTemp, 0o700)
}

// bindFiles binds the kernel's files read-only: a guest of root's could otherwise change the
// host's files.
func (j *job) bindFiles() error {
	files := [][2]string{{j.Kernel, "/linux"}, {j.Self, jailBoot + "/uml"}, {"/dev/null", "/dev/null"}, {"/dev/random", "/dev/random"}}
	libs := j.Libs
	for _, module := range j.Modules {
		files = append(files, [2]string{module, jailBoot + "/modules/" + filepath.Base(module)})
	}
	if j.Helper != "" {
		files = append(files, [2]string{j.Helper, slirpPath})
		libs = append(libs, j.HelperLibs...)
	}
	seen := map[string]bool{}
	for lib := range slices.Chunk(libs, 2) {
		if !seen[lib[1]] {
			files = append(files, [2]string{lib[0], lib[1]})
		}
		seen[lib[1]] = true
	}
	if j.Emulator != "" {
		files = append(files, [2]string{j.Emulator, jailBoot + "/emulator"})
	}
	for _, f := range files {
		err := bindFile(f[0], f[1])
		if err == nil && !strings.HasPrefix(f[1], "/dev/") {
			err = restrict(f[1], true)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// bindOne binds the SRC of a --bind: a directory at dst, a file at dst/file.
func bindOne(src, dst string, readOnly bool) error {
	fi, err := os.Stat(jailOld + src)
	if err != nil {
		return fmt.Errorf("--bind %s: %w", src, err)
	}
	if fi.IsDir() {
		return bindTree(src, dst, readOnly)
	}
	if err := bindFile(src, dst+"/file"); err != nil {
		return err
	}
	return restrict(dst+"/file", readOnly)
}

func bindFile(src, dst string) error {
	if err := os.MkdirAll(filepath.Dir(dst), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(dst, nil, 0o600); err != nil {
		return err
	}
	return mount(jailOld+src, dst, "", unix.MS_BIND, "")
}

// bindTree binds a directory with all its mounts, and covers every proc file system: its links
// lead to the roots and files of other processes, outside the jail.
func bindTree(src, dst string, readOnly bool) error {
	if err := os.MkdirAll(dst, 0o755); err != nil {
		return err
	}
	if err := mount(jailOld+src, dst, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	mounts, err := mountsBelow(dst)
	if err != nil {
		return err
	}
	for _, m := range mounts {
		if m.fstype != "proc" {
			continue
		}
		err := mount("tmpfs", m.point, "tmpfs", unix.MS_RDONLY, "size=4k,mode=555")
		// We cannot get there, and so the guest cannot.
		if err != nil && !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	return restrict(dst, readOnly)
}

// restrict takes devices, set-ID bits and, if asked, writing from a mount and the mounts below it.
// Before 5.12 the kernel cannot do that in one step, so restrict takes one mount after the other.
func restrict(path string, readOnly bool) error {
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
	flags := uintptr(unix.MS_REMOUNT | unix.MS_BIND | unix.MS_NOSUID | unix.MS_NODEV)
	if readOnly {
		attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
		flags |= unix.MS_RDONLY
	}
	err := unix.MountSetattr(-1, path, unix.AT_RECURSIVE, &attr)
	if !errors.Is(err, unix.ENOSYS) {
		return wrap(err, "restrict the mount %s", path)
	}
	mounts, err := mountsBelow(path)
	if err != nil {
		return err
	}
	for _, m := range mounts {
		var st unix.Statfs_t
		if err := unix.Statfs(m.point, &st); err != nil {
			return wrap(err, "statfs %s", m.point)
		}
		const same = unix.MS_RDONLY | unix.MS_NOEXEC | unix.MS_NOATIME | unix.MS_NODIRATIME
		if err := mount("", m.point, "", flags|uintptr(st.Flags)&same, ""); err != nil {
			return err
		}
	}
	return nil
}

type mountPoint struct{ point, fstype string }

// mountsBelow lists the mounts at and below a path of the jail.
func mountsBelow(path string) ([]mountPoint, error) {
	text, err := os.ReadFile(jailOld + "/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var mounts []mountPoint
	for line := range strings.Lines(string(text)) {
		before, after, _ := strings.Cut(line, " - ")
		fields, types := strings.Fields(before), strings.Fields(after)
		if len(fields) < 5 || len(types) == 0 {
			return nil, fmt.Errorf("/proc/self/mountinfo: %q", line)
		}
		point := sys.Unescape(fields[4])
		if point == path || strings.HasPrefix(point, path+"/") {
			mounts = append(mounts, mountPoint{point, types[0]})
		}
	}
	return mounts, nil
}

func leaveHost() error {
	if err := sys.Detach(jailOld); err != nil {
		return err
	}
	return os.Remove(jailOld)
}

// runKernel runs the kernel at fixed addresses. If the host puts the heap far from the program,
// the kernel counts the gap as guest memory and describes its pages. If the host refuses fixed
// addresses, that costs some memory.
func (j *job) runKernel() (int, error) {
	sys.FixAddresses()
	cmd := exec.Command("/linux", j.KernelArgs...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stdout
	cmd.Env = []string{"TMPDIR=" + jailTemp, "HOME=" + jailTemp}
	for fd := fdControlIn; fd <= j.lastFD(); fd++ {
		cmd.ExtraFiles = append(cmd.ExtraFiles, os.NewFile(uintptr(fd), "fd"+strconv.Itoa(fd)))
	}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("start the kernel %s: %w", j.Kernel, err)
	}
	for _, f := range cmd.ExtraFiles {
		f.Close() // the kernel's end belongs to the kernel
	}
	cmd.Wait()
	if ws := cmd.ProcessState.Sys().(interface{ Signaled() bool }); ws.Signaled() {
		return 128 + int(cmd.ProcessState.Sys().(interface{ Signal() unix.Signal }).Signal()), nil
	}
	return cmd.ProcessState.ExitCode(), nil
}

// mount is sys.Mount with an error that names the files by their host paths, and the data.
func mount(source, at, fstype string, flags uintptr, data string) error {
	err := sys.Mount(source, at, fstype, flags, data)
	if in, ok := err.(*os.PathError); ok {
		in.Op = strings.Replace(in.Op, jailOld, "", 1)
	}
	return wrap(err, "data %q", data)
}

func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}
