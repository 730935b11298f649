package container

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"

	"binproxy/emu/entrypoint"
)

// hostAccounts is what the host says of a user who enters root's container. Ids in it are the
// host's, and decide what users may do with its /dev and its home directories. An image says who
// its users are, but not which groups of the host they are in.
type hostAccounts struct {
	UID    int   // the user of that name or number, -1 if there is none
	Groups []int // his groups, the primary one first
	Known  []int // the host's groups
}

func (h *hostAccounts) fields(w *entrypoint.Words) {
	entrypoint.Number(w, &h.UID)
	for _, list := range []*[]int{&h.Groups, &h.Known} {
		entrypoint.List(w, list, func(w *entrypoint.Words, gid *int) { entrypoint.Number(w, gid) })
	}
}

// noGroup is the kernel's group for a user who has none.
const noGroup = 65534

// lookAround asks the host, which may not know the caller.
func lookAround(asked string, caller account) *hostAccounts {
	h := &hostAccounts{UID: -1, Known: []int{0}}
	open := func(path string) (io.ReadCloser, error) { return os.Open(path) }
	a, ok, _ := lookUp(open, "/etc/passwd", called(cmp.Or(asked, strconv.Itoa(caller.UID))))
	if !ok && asked == "" {
		a, ok = caller, true
	}
	if ok {
		h.UID, h.Groups = a.UID, []int{a.GID}
	}
	_ = eachLine(open, "/etc/group", func(f []string) bool {
		gid, isMember, err := group(f, a.Name)
		if err == nil {
			h.Known = append(h.Known, gid)
		}
		if ok && isMember {
			h.Groups = append(h.Groups, gid)
		}
		return true
	})
	return h
}

// grant returns the group and the further groups that a user of the container gets: of the image's
// groups, those that are his on the host, and those that the host does not have. A caller who asks
// for no user gets his groups of the host.
func (h *hostAccounts) grant(a account, image []int, asked string) (gid int, groups []int, err error) {
	switch {
	case asked == "":
		return h.Groups[0], h.Groups, nil
	case a.UID == 0 && asked != "root" && asked != "0":
		return 0, nil, fmt.Errorf("user %s of the container's /etc/passwd is root, and that is the host's; --user root, if that is meant", asked)
	}
	groups = slices.DeleteFunc(image, func(gid int) bool {
		return slices.Contains(h.Known, gid) && !(a.UID == h.UID && slices.Contains(h.Groups, gid))
	})
	if gid = a.GID; !slices.Contains(groups, gid) {
		gid = noGroup
	}
	return gid, append(groups, gid), nil
}
