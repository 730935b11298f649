package sight

import (
	"bytes"
	"io"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"binproxy/emu/resolve"
	"binproxy/emu/sys"
)

// Some files open to a tracee, and not to a thread of ours that has taken on the ids of its file
// system: in a FUSE mount without allow_other all ids of a process have to be its user's, and one
// that was made in a user namespace lets in only processes of that namespace. There, too, a file
// may be open only to the namespace's own capabilities. So a process of ours becomes what the
// tracee is, for good, and opens the file. What it may do is never less than what the tracee may:
// the kernel is asked afterwards, and the tracee opens the file by itself.

// answer is how long a file system may take. The one who serves it may never answer.
const answer = 10 * time.Second

// mayDiffer reports whether the tracee may reach a file that we were refused.
func (v *View) mayDiffer(path string) bool {
	return path != "" && v.sight.ids.UID == 0 && v.stance.differ && (v.stance.doubt || v.sight.hasFUSE(v.tid))
}

// hasFUSE reports whether a thread has a FUSE mount in its mount namespace. To find that out is
// much cheaper than to start a process.
func (s *Sight) hasFUSE(tid int) bool {
	fd, err := sys.Openat(s.Proc, strconv.Itoa(tid)+"/mounts", unix.O_RDONLY)
	if err != nil {
		return false
	}
	f := os.NewFile(uintptr(fd), "mounts")
	defer f.Close()
	text, _ := io.ReadAll(io.LimitReader(f, 1<<20))
	return bytes.Contains(text, []byte(" fuse"))
}

// openAs is Open by a process that becomes what the tracee is.
func (v *View) openAs(path string) (resolve.File, syscall.Errno) {
	f, err := v.ask(path)
	if err != nil {
		return resolve.File{}, unix.EACCES
	}
	v.Last, v.Doubt, v.Unproven, v.Follow = f, true, true, true
	return v.read(path, "")
}

func (v *View) ask(path string) (*File, error) {
	d, err := v.deputy()
	if err != nil {
		return nil, err
	}
	defer d.Recall()
	from, flags, rules := v.lookup(path)
	f := &File{-1, -1, unix.Stat_t{}}
	var st unix.Statx_t
	if f.FD, st, err = d.Openat2(from, path, flags, rules); err != nil {
		return nil, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		f.close()
		return nil, unix.EACCES
	}
	f.Stat = unix.Stat_t{Dev: unix.Mkdev(st.Dev_major, st.Dev_minor), Ino: st.Ino, Mode: uint32(st.Mode), Uid: st.Uid, Gid: st.Gid, Size: int64(st.Size)}
	if f.Reader, _, err = d.Openat2(from, path, flags&^unix.O_PATH|unix.O_NONBLOCK|unix.O_NOCTTY, rules); err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

// deputy sends a process that becomes what the tracee is.
func (v *View) deputy() (*sys.Deputy, error) {
	var namespace *os.File
	if v.stance.doubt {
		back := v.sight.approach(v.stance)
		fd, err := sys.Openat(v.sight.Proc, strconv.Itoa(v.tid)+"/ns/user", unix.O_RDONLY)
		back()
		if err != nil {
			return nil, err
		}
		namespace = os.NewFile(uintptr(fd), "ns/user")
		defer namespace.Close()
	}
	d, err := sys.Send()
	if err != nil {
		return nil, err
	}
	d.Patience = answer
	if namespace != nil {
		err = d.Enter(namespace)
	} else if err = d.Guard(); err == nil {
		err = d.Become(v.stance.ids.UID, v.stance.ids.GID, v.stance.ids.Groups)
	}
	if err != nil {
		d.Recall()
		return nil, err
	}
	return d, nil
}
