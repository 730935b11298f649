package uml

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// attributes is what a line of a kept layer's file says about an entry: KIND MODE UID:GID "NAME"
// and, for each extended attribute, two more quoted words. Kinds are dir, file, link, fifo, socket
// (which is not kept), char:MAJOR:MINOR and block:MAJOR:MINOR; "gone" is an entry of the root that
// the guest removed. An overlay's own marks are extended attributes.
type attributes struct {
	kind         string
	major, minor uint32
	mode         uint32 // with the set-ID and sticky bits
	uid, gid     int
	name         string
	xattrs       []string // names and values
}

// nodeBits is the kind's value for mknod; 0 for a kind that is in the tree, or is not kept.
func nodeBits(kind string) (bits uint32, known bool) {
	switch kind {
	case "dir", "file", "link", "socket":
		return 0, true
	case "fifo":
		return unix.S_IFIFO, true
	case "char", "gone": // overlayfs marks a removal with a device 0:0
		return unix.S_IFCHR, true
	case "block":
		return unix.S_IFBLK, true
	}
	return 0, false
}

func attributesOf(path, name string, fi fs.FileInfo) (a attributes, err error) {
	st := fi.Sys().(*syscall.Stat_t)
	a = attributes{mode: st.Mode & 0o7777, uid: int(st.Uid), gid: int(st.Gid), name: name}
	device := uint64(st.Rdev)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		a.kind = "dir"
	case unix.S_IFREG:
		a.kind = "file"
	case unix.S_IFLNK:
		a.kind = "link"
	case unix.S_IFIFO:
		a.kind = "fifo"
	case unix.S_IFSOCK:
		a.kind = "socket"
	case unix.S_IFBLK:
		a.kind, a.major, a.minor = "block", unix.Major(device), unix.Minor(device)
	case unix.S_IFCHR:
		if a.kind = "char"; device == 0 {
			a.kind = "gone"
		}
		a.major, a.minor = unix.Major(device), unix.Minor(device)
	}
	a.xattrs, err = xattrs(path)
	return a, err
}

// overlayNotes are extended attributes that overlayfs can make again by itself, or that apply to
// one mount only (linux/fs/overlayfs/overlayfs.h, overlayfs.rst). Of its other attributes, opaque
// is needed: it marks a directory that hides the one below it.
var overlayNotes = [...]string{"trusted.overlay.impure", "trusted.overlay.nlink", "trusted.overlay.origin", "trusted.overlay.upper", "trusted.overlay.uuid"}

// xattrs reads a file's extended attributes: names and values alternate.
func xattrs(path string) (list []string, err error) {
	names := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, names)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil, nil
	}
	if err != nil || n == 0 {
		return nil, wrap(err, "extended attributes of %s", path)
	}
	value := make([]byte, 64<<10)
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names[:n]), "\x00"), "\x00") {
		if slices.Contains(overlayNotes[:], name) {
			continue
		}
		n, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			return nil, fmt.Errorf("extended attribute %s of %s: %w", name, path, err)
		}
		list = append(list, name, string(value[:n]))
	}
	return list, nil
}

func (a attributes) String() string {
	var b strings.Builder
	b.WriteString(a.kind)
	if a.kind == "char" || a.kind == "block" {
		fmt.Fprintf(&b, ":%d:%d", a.major, a.minor)
	}
	fmt.Fprintf(&b, " %04o %d:%d %q", a.mode, a.uid, a.gid, a.name)
	for _, word := range a.xattrs {
		fmt.Fprintf(&b, " %q", word)
	}
	return b.String()
}

// parseAttributes reads what String wrote.
func parseAttributes(line string) (a attributes, err error) {
	head := strings.SplitN(line, " ", 4)
	if len(head) < 4 {
		return a, fmt.Errorf("%q: not KIND MODE UID:GID NAME", line)
	}
	kind, device, hasDevice := strings.Cut(head[0], ":")
	a.kind = kind
	if hasDevice {
		a.major, a.minor, err = pair(device)
	}
	mode, wrongMode := strconv.ParseUint(head[1], 8, 12)
	uid, gid, wrongOwner := pair(head[2])
	a.mode, a.uid, a.gid = uint32(mode), int(uid), int(gid)
	_, known := nodeBits(kind)
	if err = errors.Join(err, wrongMode, wrongOwner); err != nil || !known {
		return a, fmt.Errorf("%q: not KIND MODE UID:GID NAME", line)
	}
	words, err := quotedWords(head[3])
	if err != nil || len(words)%2 != 1 || !filepath.IsLocal(words[0]) {
		return a, fmt.Errorf("%q: not a name within the layer, and pairs of words", line)
	}
	a.name, a.xattrs = words[0], words[1:]
	return a, nil
}

// pair reads two numbers with a colon between them.
func pair(text string) (first, second uint32, err error) {
	before, after, _ := strings.Cut(text, ":")
	a, wrong := strconv.ParseUint(before, 10, 32)
	b, alsoWrong := strconv.ParseUint(after, 10, 32)
	return uint32(a), uint32(b), errors.Join(wrong, alsoWrong)
}

// quotedWords reads Go's quoted strings with a space between.
func quotedWords(s string) (words []string, err error) {
	for {
		quoted, err := strconv.QuotedPrefix(s)
		if err != nil {
			return nil, err
		}
		word, err := strconv.Unquote(quoted)
		if err != nil {
			return nil, err
		}
		words = append(words, word)
		if s = s[len(quoted):]; s == "" {
			return words, nil
		}
		if s[0] != ' ' {
			return nil, strconv.ErrSyntax
		}
		s = s[1:]
	}
}

// apply gives an entry of the tree its attributes, and makes an entry that no tree of the host can
// have. If an entry, or its directory, is missing, someone has removed it.
func (a attributes) apply(dir string) error {
	path := below(dir, a.name)
	if bits, _ := nodeBits(a.kind); bits != 0 {
		err := unix.Mknod(path, bits|0o600, int(unix.Mkdev(a.major, a.minor)))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) {
			return nil // its directory was removed or replaced
		}
		if err != nil {
			return fmt.Errorf("mknod %s: %w", path, err)
		}
	}
	fi, err := os.Lstat(path)
	if err != nil {
		return nil
	}
	if err := os.Lchown(path, a.uid, a.gid); err != nil {
		return err
	}
	if fi.Mode()&fs.ModeSymlink == 0 {
		if err := unix.Chmod(path, a.mode); err != nil {
			return &os.PathError{Op: "chmod", Path: path, Err: err}
		}
	}
	for pair := range slices.Chunk(a.xattrs, 2) {
		if err := unix.Lsetxattr(path, pair[0], []byte(pair[1]), 0); err != nil {
			return fmt.Errorf("set extended attribute %s of %s: %w", pair[0], path, err)
		}
	}
	return nil
}
