package supervise

import (
	"bytes"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"binproxy/emu/sys"
)

// fileCapabilities are those that pass over what a file's owner, group and permission bits say.
const fileCapabilities = 1<<unix.CAP_CHOWN | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_DAC_READ_SEARCH | 1<<unix.CAP_FOWNER | 1<<unix.CAP_FSETID

// ids are what decides on a thread's access to files.
type ids = sys.FileIDs

func sameAccess(a, b ids) bool {
	return a.UID == b.UID && a.GID == b.GID && slices.Equal(a.Groups, b.Groups) && a.Effective&fileCapabilities == b.Effective&fileCapabilities
}

// idsOf reads the ids of a thread as our user namespace has them; name is its number, or "self".
func (s *supervisor) idsOf(name string) (ids, error) {
	fd, err := sys.Openat(s.proc, name+"/status", unix.O_RDONLY)
	if err != nil {
		return ids{}, err
	}
	defer unix.Close(fd)
	n, err := unix.Read(fd, s.status[:])
	if err != nil {
		return ids{}, err
	}
	return parseIDs(s.status[:n]), nil
}

// parseIDs reads the lines Uid, Gid, Groups and CapEff of /proc/PID/status.
func parseIDs(status []byte) ids {
	i := ids{UID: -1, GID: -1}
	for line := range bytes.Lines(status) {
		key, value, _ := bytes.Cut(line, []byte(":"))
		fields := bytes.Fields(value)
		switch string(key) {
		case "Uid":
			i.UID = fourth(fields)
		case "Gid":
			i.GID = fourth(fields)
		case "Groups":
			for _, f := range fields {
				n, _ := strconv.Atoi(string(f))
				i.Groups = append(i.Groups, n)
			}
		case "CapEff":
			if len(fields) == 1 {
				i.Effective, _ = strconv.ParseUint(string(fields[0]), 16, 64)
			}
		}
	}
	return i
}

// fourth is the file system's id, behind the real, effective and saved one.
func fourth(fields [][]byte) int {
	if len(fields) < 4 {
		return -1
	}
	n, err := strconv.Atoi(string(fields[3]))
	if err != nil {
		return -1
	}
	return n
}

// stance is how a tracee's files are to be looked at.
type stance struct {
	ids    ids
	differ bool // this thread has to take the tracee's ids on for it
	doubt  bool // in another user namespace they mean another thing
}

// stanceFor compares a tracee's ids with ours. An ordinary user has no way to change anything about them: nobody without privileges can
// set ids, and the capabilities that a user namespace gives are good for its own files only.
func (s *supervisor) stanceFor(t *task) (stance, error) {
	if s.ids.UID != 0 {
		return stance{ids: s.ids}, nil
	}
	name := strconv.Itoa(t.TID())
	theirs, err := s.idsOf(name)
	if err != nil || sameAccess(theirs, s.ids) {
		return stance{ids: theirs}, err
	}
	st := stance{ids: theirs, differ: true}
	back := s.approach(st)
	defer back()
	st.doubt = s.link(name+"/ns/user") != s.userns
	return st, nil
}

// bits are the permission bits (R_OK, W_OK, X_OK) that the file's owner, group and mode leave the ids.
func (st stance) bits(file *unix.Stat_t) uint32 {
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
func (s *supervisor) link(name string) string {
	var b [64]byte
	n, err := unix.Readlinkat(s.proc, name, b[:])
	if err != nil {
		return ""
	}
	return string(b[:n])
}

// approach makes this thread one that /proc lets look at the tracee, as far as ids go, and gives the way back. Its own capabilities stay
// effective: they have to comprise the tracee's.
func (s *supervisor) approach(st stance) func() {
	st.ids.Effective = s.ids.Effective
	return s.become(st)
}

// assume makes this thread look files up as the tracee does, and gives the way back.
func (s *supervisor) assume(st stance) func() {
	st.ids.Effective = s.ids.Effective&^fileCapabilities | st.ids.Effective&fileCapabilities
	return s.become(st)
}

func (s *supervisor) become(st stance) func() {
	if !st.differ {
		return func() {}
	}
	sys.SetFileIDs(st.ids)
	return func() { sys.SetFileIDs(s.ids) }
}
