package sight

import (
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// Stance is how the thread was looked at.
func (v *View) Stance() Stance { return v.stance }

// FileID tells one file from all others that are open.
type FileID struct{ Dev, Ino uint64 }

// Identify says which file a descriptor of ours is.
func (s *Sight) Identify(fd int) (FileID, error) { return s.fileID(s.Self, strconv.Itoa(fd)) }

func (s *Sight) fileID(dir int, name string) (FileID, error) {
	var st unix.Stat_t
	err := unix.Fstatat(dir, name, &st, 0)
	return FileID{st.Dev, st.Ino}, err
}

// Program says which file a thread that stood so before an exec executes now. Where it has got
// other ids by the exec, we may not be allowed to look.
func (s *Sight) Program(st Stance, tid int) (FileID, error) {
	back := s.approach(st)
	defer back()
	return s.fileID(s.Proc, strconv.Itoa(tid)+"/exe")
}

// Gained reports whether a thread has more rights after an exec than the ids of before it give. Of
// an ordinary user's it need not be known: they all have no_new_privs.
func (s *Sight) Gained(st Stance, tid int) bool {
	if !st.told {
		return false
	}
	now, err := s.Status(strconv.Itoa(tid))
	return err != nil || st.rights.less(now.rights)
}

// less reports whether an exec that changes no ids cannot have made b of a. What root has dropped
// it gets back.
func (a rights) less(b rights) bool {
	return a.users != b.users || a.groups != b.groups || b.permitted&^a.permitted != 0 && !slices.Contains(a.users[:], 0)
}

// User is a thread's effective user id, which its directory in /proc belongs to.
func (s *Sight) User(tid int) (uint32, error) {
	var st unix.Stat_t
	err := unix.Fstatat(s.Proc, strconv.Itoa(tid), &st, 0)
	return st.Uid, err
}
