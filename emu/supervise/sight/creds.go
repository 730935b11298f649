package sight

import (
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"binproxy/emu/sys"
)

// fileCapabilities are those that pass over what a file's owner, group and permission bits say.
const fileCapabilities = 1<<unix.CAP_CHOWN | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_DAC_READ_SEARCH | 1<<unix.CAP_FOWNER | 1<<unix.CAP_FSETID

func sameAccess(a, b sys.FileIDs) bool {
	return a.UID == b.UID && a.GID == b.GID && slices.Equal(a.Groups, b.Groups) && a.Effective&fileCapabilities == b.Effective&fileCapabilities
}

// Stance is how a tracee's files are to be looked at.
type Stance struct {
	ids    sys.FileIDs
	told   bool // rights are known
	rights rights
	differ bool // this thread has to take the tracee's ids on for it
	doubt  bool // it may have more rights than the ids: capabilities of its own namespace
}

// stanceFor compares a tracee's ids with ours. An ordinary user cannot change anything about them:
// nobody without privileges can set ids, and the capabilities that a user namespace gives are good
// for its own files only. For the same reason those of a tracee in another user namespace are not
// taken on: in ours they would be good for everybody's files.
func (s *Sight) stanceFor(tid int) (Stance, error) {
	if s.ids.UID != 0 && s.ids.Effective == 0 {
		return Stance{ids: s.ids}, nil
	}
	name := strconv.Itoa(tid)
	theirs, err := s.Status(name)
	st := Stance{ids: theirs.FileIDs, told: true, rights: theirs.rights}
	if s.ids.UID != 0 {
		st.ids = s.ids
		return st, err
	}
	if err != nil || sameAccess(theirs.FileIDs, s.ids) {
		return st, err
	}
	st.differ = true
	back := s.approach(st)
	defer back()
	if st.doubt = s.link(name+"/ns/user") != s.userns; st.doubt {
		st.ids.Effective &^= fileCapabilities
	}
	return st, nil
}

// bits are the permission bits (R_OK, W_OK, X_OK) that the file's owner, group and mode leave the
// ids.
func (st Stance) bits(file *unix.Stat_t) uint32 {
	switch {
	case st.ids.Effective&(1<<unix.CAP_DAC_OVERRIDE) != 0:
		return unix.R_OK | unix.W_OK | (file.Mode|file.Mode>>3|file.Mode>>6)&unix.X_OK
	case int(file.Uid) == st.ids.UID:
		return file.Mode >> 6 & 7
	case int(file.Gid) == st.ids.GID || slices.Contains(st.ids.Groups, int(file.Gid)):
		return file.Mode >> 3 & 7
	}
	return file.Mode & 7
}

// link reads a link in /proc, "" if that is not allowed.
func (s *Sight) link(name string) string {
	var b [64]byte
	n, err := unix.Readlinkat(s.Proc, name, b[:])
	if err != nil {
		return ""
	}
	return string(b[:n])
}

// approach makes this thread one that /proc lets look at the tracee, as far as ids go, and gives
// the way back. Its own capabilities stay effective: they have to comprise the tracee's.
func (s *Sight) approach(st Stance) func() {
	st.ids.Effective = s.ids.Effective
	return s.become(st)
}

// assume makes this thread look files up as the tracee does, and gives the way back.
func (s *Sight) assume(st Stance) func() {
	st.ids.Effective = s.ids.Effective&^fileCapabilities | st.ids.Effective&fileCapabilities
	return s.become(st)
}

// Return makes this thread itself again, whoever it was looking at files as.
func (s *Sight) Return() { sys.SetFileIDs(s.ids) }

func (s *Sight) become(st Stance) func() {
	if !st.differ {
		return func() {}
	}
	sys.SetFileIDs(st.ids)
	return s.Return
}
