package sight

import (
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// Stance returns the way in which the thread was looked at.
func (v *View) Stance() Stance { return v.stance }

// FileID distinguishes a file from all others that are open.
type FileID struct{ Dev, Ino uint64 }

// Identify returns the id of the file that one of our descriptors refers to.
func (s *Sight) Identify(fd int) (FileID, error) { return s.fileID(s.Self, strconv.Itoa(fd)) }

func (s *Sight) fileID(dir int, name string) (FileID, error) {
	var st unix.Stat_t
	err := unix.Fstatat(dir, name, &st, 0)
	return FileID{st.Dev, st.Ino}, err
}

// Program returns the file that a thread executes now; the stance is from before the exec. If the
// exec changed the thread's ids, we may not be allowed to look.
func (s *Sight) Program(st Stance, tid int) (FileID, error) {
	back := s.approach(st)
	defer back()
	return s.fileID(s.Proc, strconv.Itoa(tid)+"/exe")
}

// Gained reports whether a thread has more rights after an exec than its ids before the exec give.
// Under an ordinary user the answer is not needed: all tracees have no_new_privs.
func (s *Sight) Gained(st Stance, tid int) bool {
	if !st.told {
		return false
	}
	now, err := s.Status(strconv.Itoa(tid))
	return err != nil || st.rights.less(now.rights)
}

// less reports whether an exec that changes no ids cannot have turned a into b. Root regains what
// it has dropped.
func (a rights) less(b rights) bool {
	return a.users != b.users || a.groups != b.groups || b.permitted&^a.permitted != 0 && !slices.Contains(a.users[:], 0)
}

// User returns a thread's effective user id, which owns its directory in /proc.
func (s *Sight) User(tid int) (uint32, error) {
	var st unix.Stat_t
	err := unix.Fstatat(s.Proc, strconv.Itoa(tid), &st, 0)
	return st.Uid, err
}

// Exe is the path of the program that a process runs, "?" where it cannot be read.
func (s *Sight) Exe(pid int) string {
	var b [unix.PathMax]byte
	n, err := unix.Readlinkat(s.Proc, strconv.Itoa(pid)+"/exe", b[:])
	if err != nil {
		return "?"
	}
	return string(b[:n])
}
