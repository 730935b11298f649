package sight

import (
	"bytes"
	"strconv"

	"golang.org/x/sys/unix"

	"binproxy/emu/sys"
)

// Status is what /proc/TID/status says about a thread, in terms of our user namespace.
type Status struct {
	sys.FileIDs
	rights
	Group, Parent   int    // its process and its parent; 0 if the file does not say
	Ignored, Caught uint64 // signals, one bit each from the lowest on
}

// rights are what an exec may change in a thread.
type rights struct {
	users, groups [2]int // real and effective
	permitted     uint64 // capabilities
}

// Status reads the status of a thread; name is its number, or "thread-self".
func (s *Sight) Status(name string) (Status, error) {
	fd, err := sys.Openat(s.Proc, name+"/status", unix.O_RDONLY)
	if err != nil {
		return parseStatus(nil), err
	}
	defer unix.Close(fd)
	n, err := sys.Read(fd, s.status[:])
	if err != nil {
		return parseStatus(nil), err
	}
	return parseStatus(s.status[:n]), nil
}

// parseStatus reads the lines that matter. If a text lacks them, no id is known, and every signal
// counts as caught.
func parseStatus(text []byte) Status {
	st := Status{FileIDs: sys.FileIDs{UID: -1, GID: -1}, Caught: ^uint64(0)}
	for line := range bytes.Lines(text) {
		key, value, _ := bytes.Cut(line, []byte(":"))
		switch string(key) {
		case "Tgid":
			st.Group = number(value)
		case "PPid":
			st.Parent = number(value)
		case "Uid":
			st.users, st.UID = ids(value)
		case "Gid":
			st.groups, st.GID = ids(value)
		case "Groups":
			for _, f := range bytes.Fields(value) {
				st.Groups = append(st.Groups, number(f))
			}
		case "CapPrm":
			st.permitted = set(value, 0)
		case "CapEff":
			st.Effective = set(value, 0)
		case "SigIgn":
			st.Ignored = set(value, 0)
		case "SigCgt":
			st.Caught = set(value, st.Caught)
		}
	}
	return st
}

func number(value []byte) int {
	n, _ := strconv.Atoi(string(bytes.TrimSpace(value)))
	return n
}

// set reads a set of bits; without is the result if there is none.
func set(value []byte, without uint64) uint64 {
	n, err := strconv.ParseUint(string(bytes.TrimSpace(value)), 16, 64)
	if err != nil {
		return without
	}
	return n
}

// ids reads the real, effective, saved and file system's id. It returns the first two, and the
// last; -1 if they are missing.
func ids(value []byte) (first [2]int, last int) {
	fields := bytes.Fields(value)
	if len(fields) < 4 {
		return [2]int{-1, -1}, -1
	}
	return [2]int{id(fields[0]), id(fields[1])}, id(fields[3])
}

func id(field []byte) int {
	n, err := strconv.Atoi(string(field))
	if err != nil {
		return -1
	}
	return n
}
