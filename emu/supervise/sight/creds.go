package sight

import (
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"binproxy/emu/sys"
)

// fileCapabilities are the ones that override a file's owner, group and permission bits.
const fileCapabilities = 1<<unix.CAP_CHOWN | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_DAC_READ_SEARCH | 1<<unix.CAP_FOWNER | 1<<unix.CAP_FSETID

func sameAccess(a, b sys.FileIDs) bool {
	return a.UID == b.UID && a.GID == b.GID && slices.Equal(a.Groups, b.Groups) && a.Effective&fileCapabilities == b.Effective&fileCapabilities
}

// Stance is the way to look at a tracee's files.
type Stance struct {
	ids    sys.FileIDs
	told   bool // rights are known
	rights rights
	differ bool // this thread must take on the tracee's ids for it
	doubt  bool // it may have more rights than its ids: capabilities in its own namespace
}

// stanceFor compares a tracee's ids with ours. An ordinary user's supervisor keeps its own: nobody
// without privileges can set ids, and a user namespace's capabilities apply only to its own files.
// For the same reason the capabilities of a tracee in another user namespace are not taken on: in
// ours they would apply to everybody's files.
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

// losing reports whether the tracee may find or read files by capabilities that an exec takes from
// it: it has given up root's id, and kept them. The emulator may not find the file any more.
func (st Stance) losing() bool {
	const finding = 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_DAC_READ_SEARCH
	return st.ids.UID != 0 && st.ids.Effective&finding != 0
}

// bits are the permission bits (R_OK, W_OK, X_OK) that the ids get from the file's owner, group
// and mode.
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

// approach gives this thread the ids with which /proc lets it look at the tracee, and returns the
// way back. Its own capabilities stay effective: they must include the tracee's.
func (s *Sight) approach(st Stance) func() {
	st.ids.Effective = s.ids.Effective
	return s.become(st)
}

// assume makes this thread look up files as the tracee does, and returns the way back.
func (s *Sight) assume(st Stance) func() {
	st.ids.Effective = s.ids.Effective&^fileCapabilities | st.ids.Effective&fileCapabilities
	return s.become(st)
}

// Return gives this thread its own ids back, whatever ids it had taken on.
func (s *Sight) Return() { sys.SetFileIDs(s.ids) }

func (s *Sight) become(st Stance) func() {
	if !st.differ {
		return func() {}
	}
	sys.SetFileIDs(st.ids)
	return s.Return
}
