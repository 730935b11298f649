package userns

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"syscall"

	"binproxy/emu/entrypoint"
)

// Range maps Count ids from Inside on to the ids from Outside on.
type Range struct{ Inside, Outside, Count uint64 }

// IDs are the ids of a new user namespace. Without any there is no user namespace, only a mount
// namespace (for root).
type IDs struct {
	None     bool
	Root     bool // the child becomes root in there
	PID      bool // with a PID namespace: the child is its process 1, and all end with it
	UID, GID []Range
}

// Fields visits all of it.
func (ids *IDs) Fields(w *entrypoint.Words) {
	w.Bool(&ids.None, &ids.Root, &ids.PID)
	for _, ranges := range []*[]Range{&ids.UID, &ids.GID} {
		entrypoint.List(w, ranges, func(w *entrypoint.Words, r *Range) { entrypoint.Number(w, &r.Inside, &r.Outside, &r.Count) })
	}
}

// Single reports whether only the caller's own id exists inside.
func (ids IDs) Single() bool { return len(ids.UID) == 1 && ids.UID[0].Count == 1 }

// Self lets the caller keep his ids where a namespace's root has to do something first. Root gets
// all ids. Anybody else is root in the outer namespace, and himself again in the inner one.
func Self() (outer IDs, inner *IDs, err error) {
	if os.Geteuid() == 0 {
		outer, err = everybody()
		return outer, nil, err
	}
	return Alone(), &IDs{UID: own(os.Getuid(), 0), GID: own(os.Getgid(), 0)}, nil
}

// Household maps the caller to himself, and the other ids to his subordinate ones (subuid(5)), so
// that the namespace has a root, a daemon, and so on. The child becomes that root. ok is false for
// a caller without subordinate ids.
func Household() (ids IDs, ok bool, err error) {
	if os.Geteuid() == 0 {
		ids, err := everybody()
		ids.Root = true
		return ids, err == nil, err
	}
	uids, err := subordinate("/etc/subuid")
	if err != nil {
		return IDs{}, false, err
	}
	gids, err := subordinate("/etc/subgid")
	if err != nil || len(uids) == 0 || len(gids) == 0 {
		return IDs{}, false, err
	}
	return IDs{Root: true, UID: household(uint64(os.Getuid()), uids), GID: household(uint64(os.Getgid()), gids)}, true, nil
}

// Builder maps the caller to root, and his subordinate ids to those from 1 on. Rootless builders
// do the same, so what they keep in his home has the same owners either way. ok is false for a
// caller without subordinate ids.
func Builder() (ids IDs, ok bool, err error) {
	uids, err := subordinate("/etc/subuid")
	if err != nil {
		return IDs{}, false, err
	}
	gids, err := subordinate("/etc/subgid")
	if err != nil || len(uids) == 0 || len(gids) == 0 {
		return IDs{}, false, err
	}
	return IDs{Root: true, UID: behindRoot(os.Getuid(), uids), GID: behindRoot(os.Getgid(), gids)}, true, nil
}

// behindRoot lays out the subordinate ranges from 1 on; the caller is root, 0.
func behindRoot(self int, subs []Range) []Range {
	ranges := own(0, self)
	next := uint64(1)
	for _, s := range subs {
		ranges = append(ranges, Range{next, s.Outside, s.Count})
		next += s.Count
	}
	return ranges
}

// Alone maps the caller to root, the only id inside.
func Alone() IDs {
	return IDs{Root: true, UID: own(0, os.Getuid()), GID: own(0, os.Getgid())}
}

// NoSubordinates is the error for a caller who would need subordinate ids.
func NoSubordinates() error {
	name := strconv.Itoa(os.Getuid())
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	return fmt.Errorf("user %s has no subordinate ids in /etc/subuid and /etc/subgid, so there can be no root in the namespace; as root: "+
		"usermod --add-subuids 100000-165535 --add-subgids 100000-165535 %s", name, name)
}

// Clone gives the clone attributes for ids whose maps need nobody's help to be written, such as
// those of Self. The child has mounts of its own, too.
func (ids IDs) Clone() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS}
	for _, m := range [...]struct {
		ranges []Range
		to     *[]syscall.SysProcIDMap
	}{{ids.UID, &attr.UidMappings}, {ids.GID, &attr.GidMappings}} {
		for _, r := range m.ranges {
			*m.to = append(*m.to, syscall.SysProcIDMap{ContainerID: int(r.Inside), HostID: int(r.Outside), Size: int(r.Count)})
		}
	}
	// without privilege one id can be mapped if groups are fixed; the kernel refuses "allow" below
	// a namespace that denies it
	ours, _ := os.ReadFile("/proc/self/setgroups")
	attr.GidMappingsEnableSetgroups = !ids.Single() && string(ours) == "allow\n"
	return attr
}

func own(inside, outside int) []Range { return []Range{{uint64(inside), uint64(outside), 1}} }

// household lays out the subordinate ranges from 0 on, around the caller's own id.
func household(self uint64, subs []Range) []Range {
	var ranges []Range
	next := uint64(0)
	mine := Range{self, self, 1}
	placed := false
	for _, s := range subs {
		if !placed && next <= self && self-next < s.Count {
			before := self - next
			if before > 0 {
				ranges = append(ranges, Range{next, s.Outside, before})
			}
			ranges = append(ranges, mine)
			placed = true
			next = self + 1
			s.Outside, s.Count = s.Outside+before, s.Count-before
		}
		if s.Count > 0 {
			ranges = append(ranges, Range{next, s.Outside, s.Count})
			next += s.Count
		}
	}
	if !placed {
		ranges = append(ranges, mine)
	}
	return ranges
}

// everybody maps every id of this namespace to itself.
func everybody() (IDs, error) {
	uids, err := identityOf("/proc/self/uid_map")
	if err != nil {
		return IDs{}, err
	}
	gids, err := identityOf("/proc/self/gid_map")
	return IDs{UID: uids, GID: gids}, err
}

func identityOf(mapFile string) ([]Range, error) {
	text, err := os.ReadFile(mapFile)
	if err != nil {
		return nil, err
	}
	var ranges []Range
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line) // where in this namespace, where in the outer one, how many
		if len(words) != 3 {
			return nil, fmt.Errorf("%s: %q: not three numbers", mapFile, line)
		}
		start, err1 := strconv.ParseUint(words[0], 10, 32)
		count, err2 := strconv.ParseUint(words[2], 10, 32)
		if err := errors.Join(err1, err2); err != nil {
			return nil, fmt.Errorf("%s: %q: %w", mapFile, line, err)
		}
		ranges = append(ranges, Range{Inside: start, Outside: start, Count: count})
	}
	return ranges, nil
}

// subordinate reads the caller's ranges; none, and no error, if the file is missing.
func subordinate(path string) ([]Range, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	uid := strconv.Itoa(os.Getuid())
	name := uid
	if u, err := user.LookupId(uid); err == nil {
		name = u.Username
	}
	return parseSubordinate(f, name, uid)
}

// parseSubordinate reads the user's lines NAME:START:COUNT, which may have his name or his number.
// It skips other lines, as newuidmap(1) does.
func parseSubordinate(r io.Reader, name, uid string) ([]Range, error) {
	var ranges []Range
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		words := strings.Split(lines.Text(), ":")
		if len(words) != 3 || words[0] != name && words[0] != uid {
			continue
		}
		start, err1 := strconv.ParseUint(words[1], 10, 32)
		count, err2 := strconv.ParseUint(words[2], 10, 32)
		if err1 == nil && err2 == nil && count > 0 && start+count <= 1<<32-1 {
			ranges = append(ranges, Range{Outside: start, Count: count})
		}
	}
	return ranges, lines.Err()
}

// write gives the process its maps. For several ranges of an ordinary user it calls newuidmap(1)
// and newgidmap(1), which are setuid root.
func (ids IDs) write(pid int) error {
	if ids.None {
		return nil
	}
	if os.Geteuid() != 0 && !ids.Single() {
		return errors.Join(helper("newuidmap", pid, ids.UID), helper("newgidmap", pid, ids.GID))
	}
	if os.Geteuid() != 0 {
		if err := os.WriteFile(fmt.Sprintf("/proc/%d/setgroups", pid), []byte("deny"), 0); err != nil {
			return err
		}
	}
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/gid_map", pid), []byte(format(ids.GID, "\n")), 0); err != nil {
		return err
	}
	return os.WriteFile(fmt.Sprintf("/proc/%d/uid_map", pid), []byte(format(ids.UID, "\n")), 0)
}

func format(ranges []Range, end string) string {
	var b strings.Builder
	for _, r := range ranges {
		fmt.Fprintf(&b, "%d %d %d%s", r.Inside, r.Outside, r.Count, end)
	}
	return b.String()
}

func helper(program string, pid int, ranges []Range) error {
	args := append([]string{strconv.Itoa(pid)}, strings.Fields(format(ranges, " "))...)
	out, err := exec.Command(program, args...).CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("%s is not installed (Debian and Ubuntu: package uidmap; Fedora: shadow-utils; Alpine: shadow-uidmap): %w", program, err)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
