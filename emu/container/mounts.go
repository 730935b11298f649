package container

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"binproxy/emu/sys"
)

// mount is a file or directory of the host that appears in the container.
type mount struct {
	Source, At string // absolute paths; At is in the container
	File       bool
}

// usual are the host's directories that every container has; missing ones are left out.
var usual = [...]string{"/proc", "/sys", "/dev", "/var/tmp"}

const resolvConf = "/etc/resolv.conf"

// mounts lists what is mounted in the container, in order.
func mounts(o *Options) ([]mount, error) {
	var all []mount
	for _, dir := range usual {
		if isDir(dir) {
			all = append(all, mount{Source: dir, At: dir})
		}
	}
	if !o.NoHome {
		for _, dir := range homes() {
			all = append(all, mount{Source: dir, At: dir})
		}
	}
	for _, bind := range o.Binds {
		m, err := parseBind(bind)
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	if source, err := filepath.EvalSymlinks(resolvConf); err == nil {
		all = append(all, mount{Source: source, At: resolvConf, File: true})
	}
	return all, nil
}

// homes is /home, and the caller's own home if that is elsewhere. Root's home is the container's
// own.
func homes() []string {
	var dirs []string
	if isDir("/home") {
		dirs = append(dirs, "/home")
	}
	home := filepath.Clean(os.Getenv("HOME"))
	if os.Getuid() != 0 && filepath.IsAbs(home) && home != "/" && !below(home, "/home") && isDir(home) {
		dirs = append(dirs, home)
	}
	return dirs
}

func below(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

func isDir(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.IsDir()
}

func parseBind(bind string) (mount, error) {
	source, at, named := strings.Cut(bind, ":")
	if !named {
		at = source
	}
	source, err := filepath.Abs(source)
	if err != nil {
		return mount{}, err
	}
	if !named {
		at = source
	}
	fi, err := os.Stat(source)
	if err != nil {
		return mount{}, fmt.Errorf("--bind %s: %w", bind, err)
	}
	if at = filepath.Clean(at); !filepath.IsAbs(at) || at == "/" {
		return mount{}, fmt.Errorf("--bind %s: it is SRC[:DST], with DST an absolute path in the container, and not its root", bind)
	}
	return mount{Source: source, At: at, File: !fi.IsDir()}, nil
}

// place opens the mount's place in the root, and makes it if it is missing. Links in the root do
// not lead out of it. What it makes is recorded in made.
func (m mount) place(root *os.File, made *[]string) (*os.File, error) {
	f, err := sys.OpenIn(root, m.At, unix.O_PATH)
	if errors.Is(err, fs.ErrNotExist) {
		if err := m.make(root, made); err != nil {
			return nil, err
		}
		f, err = sys.OpenIn(root, m.At, unix.O_PATH)
	}
	if errors.Is(err, unix.ELOOP) {
		return nil, fmt.Errorf("%s in the root is a symbolic link that leads to itself (debootstrap makes such a /proc where it runs in a container); "+
			"remove it: rm %s%s", m.At, root.Name(), m.At)
	}
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err == nil && fi.IsDir() == m.File {
		err = fmt.Errorf("%s in the root: the host's %s cannot be mounted there: one is a directory, the other is not", m.At, m.Source)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// make makes the place and the directories that lead to it. A link that leads nowhere is followed
// within the root.
func (m mount) make(root *os.File, made *[]string) error {
	dir := filepath.Dir(m.At)
	parent, err := mount{Source: m.Source, At: dir}.place(root, made)
	if err != nil {
		return err
	}
	defer parent.Close()
	base := filepath.Base(m.At)
	path := sys.FDPath(parent) + "/" + base
	if leads, err := os.Readlink(path); err == nil {
		if !filepath.IsAbs(leads) {
			leads = filepath.Join(dir, leads)
		}
		if leads == m.At {
			return &os.PathError{Op: "make", Path: m.At, Err: unix.ELOOP}
		}
		return mount{Source: m.Source, At: leads, File: m.File}.make(root, made)
	}
	if m.File {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		f.Close()
	} else if err := os.Mkdir(path, 0o755); err != nil {
		return err
	}
	*made = append(*made, m.At)
	return belongLike(root, path)
}

// belongLike gives the file the owner of the root: an ordinary user's root may belong to him
// completely, but the user who makes places in it is another one there.
func belongLike(root *os.File, path string) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(root.Fd()), &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	if int(st.Uid) == os.Geteuid() && int(st.Gid) == os.Getegid() {
		return nil
	}
	return os.Lchown(path, int(st.Uid), int(st.Gid))
}

// unmake removes what was made, in reverse order.
func unmake(root *os.File, made []string) {
	for i := len(made) - 1; i >= 0; i-- {
		parent, err := sys.OpenIn(root, filepath.Dir(made[i]), unix.O_PATH|unix.O_DIRECTORY)
		if err != nil {
			continue
		}
		// only if it is still empty
		_ = os.Remove(sys.FDPath(parent) + "/" + filepath.Base(made[i]))
		parent.Close()
	}
}
