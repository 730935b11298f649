package uml

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"binproxy/emu/arch"
	"binproxy/emu/entrypoint"
	"binproxy/emu/exit"
	"binproxy/emu/sys"
)

// Guest is PID 1 of the UML kernel: it makes the root that the job describes, runs the command,
// and powers off with its status. It does not return there. The job file is its message; its words
// are the kernel's, which adds arguments of its own.
func Guest([]string) error {
	if os.Getpid() != 1 {
		return exit.Errorf(exit.Failed, "uml: the first process of a kernel is PID 1")
	}
	g := &guest{absent: map[string]bool{}}
	err := g.prepare()
	if err == nil && g.job.Trial == 0 {
		err = g.run()
	}
	g.powerOff(err)
	return nil
}

// guest is PID 1's state. Until enter has changed the root, paths are in the first root, the
// jail's /boot.
type guest struct {
	job      job
	control  *control
	exitcode *os.File // /proc/exitcode of the kernel
	streams  streams

	absent map[string]bool // entries of system that are not mounted: their directory is missing
	// the directory that keeps the layer, and the layer; "" if none is kept
	keep, upper string
}

// jobFile is the job in the guest's first root.
const jobFile = "/job"

// newRoot is where the guest's root is assembled.
const newRoot = "/new"

func (g *guest) prepare() error {
	err := entrypoint.Unpack(jobFile, &g.job)
	if err != nil {
		return err
	}
	if err := mount("proc", "/proc", "proc", 0, ""); err != nil {
		return err
	}
	if g.exitcode, err = os.OpenFile("/proc/exitcode", os.O_WRONLY, 0); err != nil {
		return err
	}
	os.WriteFile("/proc/sys/vm/overcommit_memory", []byte("0"), 0) // it is 1 only for us
	// A kernel may not mount it by itself.
	if _, err := os.Stat("/dev/tty1"); err != nil {
		if err := mount("devtmpfs", "/dev", "devtmpfs", 0, ""); err != nil {
			return err
		}
	}
	if g.control, err = openControl(); err != nil || g.job.Trial != 0 {
		return err
	}
	for _, step := range []func() error{g.streams.openHost, g.loadModules, g.mountRoot, g.mountSystem, g.mountBinds, g.network, g.register, g.enter, g.resolver, g.seal} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// loadModules loads what the kernel has as modules, in the order of their dependencies.
func (g *guest) loadModules() error {
	for _, path := range g.job.Modules {
		f, err := os.Open("/modules/" + filepath.Base(path))
		if err != nil {
			return err
		}
		err = unix.FinitModule(int(f.Fd()), "", 0)
		f.Close()
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("load %s: %w", path, err)
		}
	}
	return nil
}

// mountRoot mounts the root: the directory itself, or an overlay of it and a tmpfs. A read-only
// root that lacks a directory to mount on also gets the overlay, which becomes read-only after
// these directories are made.
func (g *guest) mountRoot() error {
	flags := uintptr(g.job.NoSuid) * unix.MS_NOSUID
	switch {
	case g.job.Mode == modeRW:
		return mount("none", newRoot, "hostfs", flags, jailRoot)
	case g.job.Mode == modeRO && g.complete():
		return mount("none", newRoot, "hostfs", flags|unix.MS_RDONLY, jailRoot)
	}
	if err := mount("none", "/lower", "hostfs", unix.MS_RDONLY, jailRoot); err != nil {
		return err
	}
	if err := mount("tmpfs", "/layer", "tmpfs", 0, "mode=755,size=90%"); err != nil {
		return err
	}
	for _, dir := range []string{"/layer/upper", "/layer/work"} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	if err := g.restoreLayer(); err != nil {
		return err
	}
	return mount("overlay", newRoot, "overlay", flags, "lowerdir=/lower,upperdir=/layer/upper,workdir=/layer/work")
}

// complete reports whether a read-only root has every directory and file to mount on.
func (g *guest) complete() bool {
	if err := mount("none", "/lower", "hostfs", unix.MS_RDONLY, jailRoot); err != nil {
		return false
	}
	defer sys.Detach("/lower")
	for _, m := range system {
		if fi, err := os.Stat("/lower/" + m.at); m.on == "" && (err != nil || !fi.IsDir()) {
			return false
		}
	}
	for b := range slices.Chunk(g.job.Binds, 3) {
		if _, err := os.Stat("/lower/" + b[1]); err != nil {
			return false
		}
	}
	if _, err := os.Lstat("/lower" + resolvConf); err != nil && g.job.Net != "" {
		return false
	}
	return true
}

// system lists the mounts that a Linux program expects. on names the entry that provides the mount
// point, "" for the root.
var system = [...]struct{ at, fstype, data, on string }{
	{"proc", "proc", "", ""},
	{"sys", "sysfs", "", ""},
	{"dev", "devtmpfs", "mode=755", ""},
	{"dev/pts", "devpts", "mode=620,ptmxmode=666,gid=5", "dev"},
	{"dev/shm", "tmpfs", "mode=1777", "dev"},
	{"tmp", "tmpfs", "mode=1777", ""},
	{"run", "tmpfs", "mode=755", ""},
}

// mountSystem mounts them. If the host's user may write to the root, it does not make a missing
// directory, and leaves out that mount. The caller's directory stays reachable if one of the
// mounts would cover it.
func (g *guest) mountSystem() error {
	here, err := sys.Open(filepath.Join(newRoot, g.job.Dir), unix.O_PATH|unix.O_DIRECTORY)
	if err == nil {
		defer unix.Close(here)
	}
	for _, m := range system {
		if err := g.mountOne(m.at, m.fstype, m.data, m.on); err != nil {
			return err
		}
	}
	for _, covered := range []string{"/tmp", "/run", "/dev/shm"} {
		if dir := g.job.Dir; here >= 0 && strings.HasPrefix(dir, covered+"/") {
			return bindFD(here, filepath.Join(newRoot, dir))
		}
	}
	return nil
}

// mountOne mounts one of them.
func (g *guest) mountOne(name, fstype, data, on string) error {
	at := filepath.Join(newRoot, name)
	if _, missing := os.Stat(at); g.job.Mode == modeRW && (g.absent[on] || on == "" && missing != nil) {
		g.absent[name] = true
		fmt.Fprintf(os.Stderr, "binproxy: the root has no /%s: not mounted\n", name)
		return nil
	}
	if err := os.MkdirAll(at, 0o755); err != nil && !errors.Is(err, unix.EROFS) {
		return err
	}
	if err := mount(fstype, at, fstype, 0, data); err != nil || name != "dev" {
		return err
	}
	for _, link := range [][2]string{{"fd", ""}, {"stdin", "/0"}, {"stdout", "/1"}, {"stderr", "/2"}} {
		if err := os.Symlink("/proc/self/fd"+link[1], filepath.Join(at, link[0])); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// bindFD makes the open directory appear at a path.
func bindFD(fd int, at string) error {
	if err := os.MkdirAll(at, 0o755); err != nil {
		return err
	}
	return mount("/proc/self/fd/"+strconv.Itoa(fd), at, "", unix.MS_BIND, "")
}

// mountBinds mounts what --bind names. For a file it mounts the file's directory elsewhere first,
// and then the file from there.
func (g *guest) mountBinds() error {
	for n, b := range slices.Collect(slices.Chunk(g.job.Binds, 3)) {
		src, dst := jailBind+"/"+strconv.Itoa(n), filepath.Join(newRoot, b[1])
		flags := uintptr(0)
		if b[2] == modeRO {
			flags = unix.MS_RDONLY
		}
		if err := mount("none", "/lower", "hostfs", flags, src); err != nil {
			return err
		}
		err := bindFrom(dst)
		sys.Detach("/lower")
		if err != nil {
			return fmt.Errorf("--bind %s:%s: %w", b[0], b[1], err)
		}
	}
	return nil
}

func bindFrom(dst string) error {
	src := "/lower"
	if _, err := os.Stat("/lower/file"); err == nil {
		src = "/lower/file"
		if err := os.MkdirAll(filepath.Dir(dst), 0o755); err != nil {
			return err
		}
		if f, err := os.OpenFile(dst, os.O_CREATE|os.O_RDONLY, 0o644); err == nil {
			f.Close()
		} else if !errors.Is(err, unix.EROFS) {
			return err
		}
	} else if err := os.MkdirAll(dst, 0o755); err != nil {
		return err
	}
	return mount(src, dst, "", unix.MS_BIND, "")
}

// register makes the kernel run the programs of --arch by the emulator. Flag F opens the emulator
// now, so the root need not contain it.
func (g *guest) register() error {
	if g.job.Arch == "" {
		return nil
	}
	const misc = "/proc/sys/fs/binfmt_misc"
	at := newRoot + misc
	if err := mount("binfmt_misc", at, "binfmt_misc", 0, ""); errors.Is(err, unix.ENOENT) {
		at = misc
		if err := mount("binfmt_misc", at, "binfmt_misc", 0, ""); err != nil {
			return err
		}
		if _, err := openDir(at); err != nil { // its entries live as long as it does
			return err
		}
	} else if err != nil {
		return err
	}
	magic, mask := arch.Get(g.job.Arch).Magic()
	entry := fmt.Sprintf(":%s:M::%s:%s:/emulator:PCF", g.job.Arch, escape(magic), escape(mask))
	return wrap(os.WriteFile(at+"/register", []byte(entry), 0), "register the emulator")
}

func escape(b []byte) string {
	var s strings.Builder
	for _, c := range b {
		fmt.Fprintf(&s, `\x%02x`, c)
	}
	return s.String()
}

// enter makes newRoot the root and leaves the jail's files behind.
func (g *guest) enter() error {
	if err := unix.Chdir(newRoot); err != nil {
		return err
	}
	if err := sys.PivotHere(); err != nil {
		return err
	}
	_ = os.Chdir(g.job.Dir) // or stay at the root
	return nil
}

// seal makes a read-only root read-only after all mounts are made.
func (g *guest) seal() error {
	if g.job.Mode != modeRO {
		return nil
	}
	return wrap(sys.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|uintptr(g.job.NoSuid)*unix.MS_NOSUID, ""), "make the root read-only")
}

// run starts the command, reaps until it has ended, and then ends the other processes.
func (g *guest) run() error {
	unix.Sethostname([]byte(g.job.Hostname))
	unix.Umask(g.job.Umask)
	os.Clearenv()
	for _, e := range g.job.Env {
		key, value, _ := strings.Cut(e, "=")
		os.Setenv(key, value)
	}
	path, argv, err := g.command()
	if err != nil {
		return err
	}
	files, attr, err := g.streams.open(&g.job)
	if err != nil {
		return err
	}
	pid, err := syscall.ForkExec(path, argv, &syscall.ProcAttr{Env: g.job.Env, Files: files, Sys: attr})
	if err != nil {
		return exit.Errorf(exit.OfExec(err), "exec %s: %w", path, err)
	}
	g.streams.start(g.control, pid)
	status := reap(pid)
	unix.Kill(-1, unix.SIGKILL)
	reap(-1)
	g.streams.finish()
	if err := g.saveLayer(); err != nil {
		return err
	}
	return status
}

// command returns what to run: the job's words, or a shell.
func (g *guest) command() (path string, argv []string, err error) {
	argv = g.job.Argv
	if len(argv) == 0 {
		argv = []string{"/bin/sh"}
		if path, err := exec.LookPath(os.Getenv("SHELL")); err == nil {
			argv[0] = path
		}
	}
	if os.Getenv("PATH") == "" {
		os.Setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	}
	path, err = exec.LookPath(argv[0])
	if err != nil && !errors.Is(err, exec.ErrDot) {
		code := exit.CannotRun
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
			code = exit.NotFound
		}
		return "", nil, exit.Errorf(code, "%s: %w in the root %s", argv[0], errors.Unwrap(err), g.job.Root)
	}
	return path, argv, nil
}

// reap waits for the process, and for every other that ends meanwhile. It returns the error for
// its end. With -1 it waits until no process is left.
func reap(pid int) error {
	for {
		got, ws, err := sys.WaitChild(-1, 0)
		switch {
		case err != nil:
			return exit.Silent(exit.Failed)
		case got == pid && (ws.Exited() || ws.Signaled()):
			return exit.Ended(ws)
		}
	}
}

// powerOff reports the status to the host side and the kernel, and ends the kernel.
func (g *guest) powerOff(err error) {
	unix.Sync()
	if g.exitcode != nil {
		fmt.Fprintf(g.exitcode, "%d\n", exit.Code(err))
	}
	if g.control != nil {
		g.control.end(err)
	} else {
		io.WriteString(os.Stderr, "binproxy: "+exit.Message(err)+"\n")
	}
	err = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	panic(err) // the kernel goes down with PID 1, and its log says why
}
