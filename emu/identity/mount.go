package identity

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"binproxy/emu/sys"
)

// scratch is a directory that every /proc has (linux/fs/proc/root.c). A file system on it holds
// the files that are mounted to their places.
const scratch = "/proc/fs"

// Mount gives this thread (lock it) a mount namespace of its own. There the files have their new
// text in every /proc and /sys that is mounted. Mount needs CAP_SYS_ADMIN. Only /proc and /sys
// become private: later mounts elsewhere still pass between the two namespaces as before. After an
// error everything is as it was.
func Mount(files []File) error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare(CLONE_NEWNS): %w", err)
	}
	return Cover(files, "/")
}

// Cover does what Mount does, but in the thread's current mount namespace, which nobody else may
// use yet, and only below top.
func Cover(files []File, top string) (err error) {
	table, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		return err
	}
	places := slices.DeleteFunc(kernelMounts(string(table)), func(m kernelMount) bool { return !within(m.at, top) })
	for _, m := range places {
		if err := sys.Mount("", m.at, "", unix.MS_PRIVATE, ""); err != nil && !errors.Is(err, unix.EINVAL) {
			return err
		}
	}
	scratch := path.Join(top, scratch)
	below, err := sys.Open(scratch, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer unix.Close(below)
	if err := sys.Mount("binproxy", scratch, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=755,size=4m"); err != nil {
		return err
	}
	defer func() {
		if err != nil || sys.Mount("/proc/self/fd/"+strconv.Itoa(below), scratch, "", unix.MS_BIND, "") != nil {
			_ = sys.Detach(scratch)
		}
	}()
	for _, whole := range wholes {
		_ = os.Mkdir(scratch+whole, 0o555)
		_ = sys.Mount(whole, scratch+whole, "", unix.MS_BIND, "")
	}
	names, err := write(files, scratch)
	if err != nil {
		return err
	}
	// They are read-only, since nobody can change the kernel's files either.
	if err := sys.Mount("", scratch, "", unix.MS_REMOUNT|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return err
	}
	return cover(files, names, places)
}

// In a user namespace, whoever mounts a /proc or a /sys must have one already that nothing covers
// (linux/fs/namespace.c, mount_too_revealing): containers without root do. So the scratch
// directory keeps such mounts of both, and stays, where no path leads to it: what was there covers
// it again. Programs in such a namespace have their opens traced (spoof), since the new mounts
// tell the truth.
var wholes = [...]string{"/proc", "/sys"}

func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// write puts the files into scratch and gives their names there: "" for one that the kernel lacks.
func write(files []File, scratch string) ([]string, error) {
	names := make([]string, len(files))
	for i, f := range files {
		text, err := f.Text()
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) {
			continue
		}
		if err != nil {
			return nil, err
		}
		names[i] = path.Join(scratch, strconv.Itoa(i))
		if err := os.WriteFile(names[i], text, 0o444); err != nil {
			return nil, err
		}
		if err := os.Chmod(names[i], 0o444); err != nil { // whatever the umask
			return nil, err
		}
	}
	return names, nil
}

// cover mounts the files at their places in every /proc and /sys: all of them, or none.
func cover(files []File, names []string, places []kernelMount) (err error) {
	var done []string
	defer func() {
		if err == nil {
			return
		}
		for _, at := range done {
			_ = sys.Detach(at)
		}
	}()
	for _, m := range places {
		for i, f := range files {
			rest, ok := strings.CutPrefix(f.Path, m.top)
			if !ok || names[i] == "" {
				continue
			}
			at := strings.TrimSuffix(m.at, "/") + rest
			err := sys.Mount(names[i], at, "", unix.MS_BIND, "")
			switch {
			case err == nil:
				done = append(done, at)
			case !errors.Is(err, unix.ENOENT): // hidden by another mount
				return err
			}
		}
	}
	return nil
}

// kernelMount is a mounted /proc or /sys; top says which.
type kernelMount struct{ at, top string }

// kernelMounts finds them in a /proc/PID/mountinfo (proc(5)), whose lines are "36 35 98:0 ROOT
// MOUNTPOINT OPTIONS [TAG...] - TYPE SOURCE OPTIONS".
func kernelMounts(mountinfo string) []kernelMount {
	var list []kernelMount
	for line := range strings.Lines(mountinfo) {
		before, after, _ := strings.Cut(line, " - ")
		fields := strings.Fields(before)
		kind, _, _ := strings.Cut(after, " ")
		if len(fields) < 5 || fields[3] != "/" {
			continue
		}
		switch kind {
		case "proc":
			list = append(list, kernelMount{sys.Unescape(fields[4]), "/proc"})
		case "sysfs":
			list = append(list, kernelMount{sys.Unescape(fields[4]), "/sys"})
		}
	}
	return list
}
