// Package kernel knows what a kernel release has: which system calls, under which number of which
// ABI, since when, and what vendors carried back to older kernels.
//
// The facts are tables that scripts/gen-kernel makes from scripts/kernel-facts: arrays of small
// integers, sorted by number, that point into lists of words. The binary has them packed
// (tables.go). The first use unpacks them all, in a few milliseconds; after that a lookup is a
// binary search. Nothing runs at start-up. Every fact names its source. A table gives the promise
// of a release; a probe finds out what the running kernel does (emu/kernel/answers).
package kernel

import (
	"slices"
	"strings"

	"binproxy/emu/arch"
)

// Version is a mainline release, 2.6.32 the oldest. Versions compare as numbers.
type Version uint8

// These stand for a version in a row.
const (
	never Version = 255 // first: every release answers ENOSYS
	still Version = 254 // last: the call still exists
)

// Newest is the newest mainline release that the tables cover.
func Newest() Version { return Version(len(tables().releases) - 1) }

func (v Version) String() string { return tables().releases[v].name }

// Date is the month of the release, as in 2009-12.
func (v Version) Date() string { return tables().releases[v].date }

// ABI is the table of one ABI: aarch64, arm, i386, loongarch64, m68k, mips_n64, mips_o32, ppc,
// ppc64, riscv64, s390x, sparc64, x32 and x86_64.
type ABI struct {
	Name string
	rows []row
}

// row is one system call. Numbers are those of the ABI's uname documentation: mips with its base,
// x32 without bit 30.
type row struct {
	nr          uint32
	name        uint16 // in names
	first, last Version
	source      uint8 // in sources
}

type gate struct {
	abi   string
	nr    uint32
	name  uint16
	wired Version
	why   string
}

// ABIs lists all tables, sorted by name. They are shared: do not change them.
func ABIs() []ABI { return tables().abis }

// Get finds a table by its name; nil where there is none.
func Get(name string) *ABI {
	abis := tables().abis
	i, ok := slices.BinarySearchFunc(abis, name, func(a ABI, name string) int { return strings.Compare(a.Name, name) })
	if !ok {
		return nil
	}
	return &abis[i]
}

// Of is the table of an ABI of emu/arch; nil if the facts do not cover it. Byte order makes no
// difference.
func Of(a *arch.ABI) *ABI {
	if a == nil {
		return nil
	}
	switch a.Name {
	case "armhf", "armel", "armeb":
		return Get("arm")
	case "aarch64_be":
		return Get("aarch64")
	case "mips", "mipsel":
		return Get("mips_o32")
	case "mips64", "mips64el":
		return Get("mips_n64")
	case "ppc64le":
		return Get("ppc64")
	}
	return Get(a.Name)
}

// Family lists the tables of the ABIs that one kernel of host's architecture can serve, its own
// first.
func Family(host *arch.ABI) []*ABI {
	own := Of(host)
	if own == nil {
		return nil
	}
	family := []*ABI{own}
	switch own.Name {
	case "x86_64":
		family = append(family, Get("x32"), Get("i386"))
	case "aarch64":
		family = append(family, Get("arm"))
	case "ppc64":
		family = append(family, Get("ppc"))
	}
	return family
}

// Call is one system call of one ABI.
type Call struct {
	ABI  *ABI
	Nr   uint32
	Name string
	row  row
}

func (a *ABI) call(r row) Call { return Call{ABI: a, Nr: r.nr, Name: tables().names[r.name], row: r} }

// Calls lists every call of the ABI by number. A number that changed hands comes once for each.
func (a *ABI) Calls() []Call {
	calls := make([]Call, len(a.rows))
	for i, r := range a.rows {
		calls[i] = a.call(r)
	}
	return calls
}

// ByNumber finds the calls that have or had a number, the older first.
func (a *ABI) ByNumber(nr uint32) []Call {
	i, _ := slices.BinarySearchFunc(a.rows, nr, func(r row, nr uint32) int { return int(int64(r.nr) - int64(nr)) })
	var calls []Call
	for ; i < len(a.rows) && a.rows[i].nr == nr; i++ {
		calls = append(calls, a.call(a.rows[i]))
	}
	return calls
}

// ByName finds the calls of a name, one for each number that it has or had.
func (a *ABI) ByName(name string) []Call {
	i, ok := slices.BinarySearch(tables().names, name)
	if !ok {
		return nil
	}
	var calls []Call
	for _, r := range a.rows {
		if int(r.name) == i {
			calls = append(calls, a.call(r))
		}
	}
	return calls
}

// Known reports whether any ABI has or had a call of the name.
func Known(name string) bool {
	_, ok := slices.BinarySearch(tables().names, name)
	return ok
}

// Never means that the number is taken, but that every release answers ENOSYS.
func (c Call) Never() bool { return c.row.first == never }

// Initial means that the oldest release of the tables (2.6.32) already has the call.
func (c Call) Initial() bool { return c.row.first == 0 }

// First is the first mainline release that has the call. It has no meaning if Never.
func (c Call) First() Version { return c.row.first }

// Since is First in words: "2.6.32 or before", a release, or "never".
func (c Call) Since() string {
	switch {
	case c.Never():
		return "never"
	case c.Initial():
		return "2.6.32 or before"
	}
	return c.row.first.String()
}

// Last is the last mainline release that has the call; ok is false while it still exists.
func (c Call) Last() (v Version, ok bool) {
	if c.row.last == still {
		return 0, false
	}
	return c.row.last, true
}

// Source names what the fact was read from; scripts/kernel-facts/README.md explains the words.
func (c Call) Source() string { return tables().sources[c.row.source] }

// Gate is for a call whose number was wired before it could work: since when, and why it could
// not.
func (c Call) Gate() (wired Version, why string, ok bool) {
	for _, g := range tables().gates {
		if g.abi == c.ABI.Name && g.nr == c.Nr && g.name == c.row.name {
			return g.wired, g.why, true
		}
	}
	return 0, "", false
}

// In reports whether a mainline release has the call.
func (c Call) In(v Version) bool { return c.row.in(v) }

func (r row) in(v Version) bool { return r.first != never && r.first <= v && v <= r.last }
