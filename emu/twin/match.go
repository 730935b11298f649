package twin

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"

	"binproxy/emu/arch"
	"binproxy/emu/packages"
)

// ID identifies a file in one of its states, by what stat reports.
type ID struct {
	Dev, Ino             uint64
	Size, Changed, Mtime int64 // bytes; nanoseconds
}

// Verdict is what the Matcher found out about a guest's file. It is zero for a file without a
// rule.
type Verdict struct {
	Rule  *Rule
	Name  string // the program's
	Twin  *Twin  // nil if there is none: Why has the reason
	Why   string
	facts *facts
	set   *Set
	abi   *arch.ABI
	dir   string // the guest's file's directory
	major string
	// a Go tool's: its defaults, as entries for the environment, and the loader that its linker
	// was built for
	defaults []string
	ldso     string
}

// Matcher finds twins for the guest's files. It remembers its verdicts during its life, which is
// one run: it reads no database twice for one file.
type Matcher struct {
	set      *Set // nil: there are no twins, and Why names what could have one
	off      map[string]bool
	verdicts map[ID]*Verdict
	roots    map[ID]*facts
}

// facts are the properties of a guest's root that matter, besides its packages.
type facts struct {
	vendor   string
	database string // its kind only, since the root is open for just one exec
	// /etc/ld.so.preload names a library, which only the guest's loader could load
	preload  bool
	services bool // users and groups may come from other sources than files
}

// NewMatcher makes a Matcher for a set, without the twins of the programs in off. set may be nil.
func NewMatcher(set *Set, off []string) *Matcher {
	m := &Matcher{set: set, off: map[string]bool{}, verdicts: map[ID]*Verdict{}, roots: map[ID]*facts{}}
	for _, name := range off {
		m.off[name] = true
	}
	return m
}

// Known is the earlier verdict on a file; nil for a new file.
func (m *Matcher) Known(id ID) *Verdict { return m.verdicts[id] }

// Guest is a file of the guest to be judged.
type Guest struct {
	ID     ID
	ABI    *arch.ABI
	Path   string // from the guest's root, without a symbolic link in it
	File   *os.File
	Root   packages.Root
	RootID ID
}

// maxKnown bounds what is kept: a guest can make files, and roots, without end.
const maxKnown = 4096

// keep keeps what was found out, and begins anew where that is too much.
func keep[T any](known map[ID]T, id ID, found T) {
	if len(known) >= maxKnown {
		clear(known)
	}
	known[id] = found
}

// Judge gives the verdict on a file.
func (m *Matcher) Judge(g Guest) *Verdict {
	v := m.judge(g)
	keep(m.verdicts, g.ID, v)
	return v
}

func (m *Matcher) judge(g Guest) *Verdict {
	f, ok := find(Rules(), g.Path, g.ABI)
	if !ok {
		return &Verdict{}
	}
	v := &Verdict{Rule: f.rule, Name: f.name, set: m.set, abi: g.ABI, dir: g.Path[:strings.LastIndexByte(g.Path, '/')], major: f.major}
	v.facts = m.factsOf(g)
	v.Twin, v.Why = m.choose(v, g)
	return v
}

// choose finds the twin for a file that has a rule, or the reason why there is none.
func (m *Matcher) choose(v *Verdict, g Guest) (*Twin, string) {
	r := v.Rule
	unfit := r.unfit(g.ABI)
	switch {
	case m.off[v.Name]:
		return nil, "switched off"
	case unfit != "":
		return nil, unfit
	case m.set == nil:
		return nil, "no twins are given"
	case v.facts.preload:
		return nil, "the guest has an /etc/ld.so.preload"
	case r.users && v.facts.services:
		return nil, "the guest's nsswitch.conf names more than files"
	}
	if r.goroot {
		if why := v.toolchain(g.Root); why != "" {
			return nil, why
		}
	}
	if !isRelease(v.major) && v.facts.vendor != m.set.Vendor {
		return nil, fmt.Sprintf("the guest is %q, the twins are of %q", v.facts.vendor, m.set.Vendor)
	}
	t := m.set.twin(v.Name, g.ABI.Name, v.major)
	if t == nil {
		return nil, "no twin of it is packed"
	}
	if why := m.sameVersion(v, g, t); why != "" {
		return nil, why
	}
	return t, ""
}

// sameVersion says why the guest's file is not the twin's program in the twin's version; "" if it
// is.
func (m *Matcher) sameVersion(v *Verdict, g Guest, t *Twin) string {
	if isRelease(v.major) {
		if !has(io.NewSectionReader(g.File, 0, g.ID.Size), builtBy(v.major, g.ABI), nil) {
			return "it is not built by " + v.major
		}
		return ""
	}
	want := packages.Upstream(m.set.Database, t.Version)
	o, err := v.owner(g)
	if err != nil {
		if g.ID.Size > 0 && hasVersion(io.NewSectionReader(g.File, 0, g.ID.Size), packages.Plain(want)) {
			return ""
		}
		return fmt.Sprintf("the guest's %v, and the file does not say that it is %s", err, packages.Plain(want))
	}
	if have := packages.Upstream(v.facts.database, o.Version); have != want {
		return fmt.Sprintf("the guest's is %s, the twin is %s", have, want)
	}
	if !o.Genuine(io.NewSectionReader(g.File, 0, g.ID.Size)) {
		return fmt.Sprintf("it is not the file that package %s brought", o.Package)
	}
	return ""
}

// hasVersion reports whether a program contains its version, as a string or at the end of one.
func hasVersion(r io.Reader, version string) bool {
	return has(r, append([]byte(version), 0), func(before byte) bool { return !strings.ContainsRune("0123456789.", rune(before)) })
}

// has reports whether want is in what r reads, behind a byte that fits; nil is for any.
func has(r io.Reader, want []byte, fits func(before byte) bool) bool {
	const chunk = 64 << 10
	buf := make([]byte, 0, chunk+len(want)+1)
	for {
		n, err := io.ReadFull(r, buf[len(buf):len(buf)+chunk])
		buf = buf[:len(buf)+n]
		for at := 0; ; {
			i := bytes.Index(buf[at:], want)
			if i < 0 {
				break
			}
			at += i
			if fits == nil || at > 0 && fits(buf[at-1]) {
				return true
			}
			at++
		}
		if err != nil {
			return false
		}
		keep := len(want) + 1
		buf = append(buf[:0], buf[len(buf)-keep:]...)
	}
}

func (m *Matcher) factsOf(g Guest) *facts {
	if f := m.roots[g.RootID]; f != nil {
		return f
	}
	f := &facts{vendor: Vendor(g.Root), database: packages.Of(g.Root).Kind}
	_, f.preload = packages.FirstLine(g.Root, "/etc/ld.so.preload", func(line string) bool { return strings.TrimSpace(line) != "" && line[0] != '#' })
	_, f.services = packages.FirstLine(g.Root, "/etc/nsswitch.conf", func(line string) bool {
		database, services, ok := strings.Cut(line, ":")
		return ok && (database == "passwd" || database == "group") && strings.TrimSpace(services) != "files"
	})
	keep(m.roots, g.RootID, f)
	return f
}

// Vendor is the ID in a root's os-release: debian, ubuntu, alpine, fedora; "" if it has none.
func Vendor(root packages.Root) string {
	for _, name := range []string{"/etc/os-release", "/usr/lib/os-release"} {
		if line, ok := packages.FirstLine(root, name, func(line string) bool { return strings.HasPrefix(line, "ID=") }); ok {
			return strings.Trim(line[len("ID="):], `"'`)
		}
	}
	return ""
}
