package kernel

import "slices"

// profile is what a vendor's build adds to and drops from its mainline base, for one ABI. Profiles
// are sorted by base and build.
type profile struct {
	name        string
	abi         string
	base        Version
	build       int
	adds, drops []uint16 // in names, sorted
	evidence    string
}

// Distro is a release of a distribution, with the kernel and the libc that it came with. Build is
// the kernel's release as far as it is known, Evidence the source of the row ("known" is general
// knowledge).
type Distro struct {
	Name, Version, Date string
	Kernel              Version
	Build               string
	Libc, LibcVersion   string
	Evidence            string
}

// Distros lists all of them, oldest first within each distribution. They are shared: do not change
// them.
func Distros() []Distro { return tables().distros }

// parent names the ABI whose backports count for an ABI without its own: both are entries of one
// source tree.
func parent(abi string) string {
	switch abi {
	case "x32":
		return "x86_64"
	case "arm":
		return "aarch64"
	case "ppc":
		return "ppc64"
	}
	return ""
}

// profileFor finds what a vendor's build is known to have: the profile of the newest build that
// was read for the ABI and is not above its own. A vendor that builds no kernel for the ABI on
// this base still has programs of it, by an emulator: what it built for x86_64 counts for them.
func (r Release) profileFor(abi string) *profile {
	if r.vendor == "" {
		return nil
	}
	found, builds := r.profileOf(abi)
	if found == nil && parent(abi) != "" {
		return r.profileFor(parent(abi))
	}
	if !builds && Get(abi).ByName("execve")[0].In(r.Base) {
		found, _ = r.profileOf("x86_64")
	}
	return found
}

// profileOf finds the profile for the very ABI; builds reports whether there are any on that base.
func (r Release) profileOf(abi string) (found *profile, builds bool) {
	profiles := tables().profiles
	for i := range profiles {
		p := &profiles[i]
		if p.abi != abi || p.base != r.Base || vendorOf(p.name) != r.vendor {
			continue
		}
		builds = true
		if p.build <= r.build {
			found = p
		}
	}
	return found, builds
}

// vendorOf is the letters that a profile's name starts with.
func vendorOf(profile string) string {
	n := 0
	for n < len(profile) && profile[n] >= 'a' && profile[n] <= 'z' {
		n++
	}
	return profile[:n]
}

// Answer is what a release promises about a call.
type Answer struct {
	Has     bool
	Profile string // the vendor profile that decided; "" where mainline's table did
	Source  string // the source of the fact
}

// Has reports whether the release has the call: by the vendor's profile if that names it, else by
// mainline's table.
func (r Release) Has(c Call) Answer {
	if p := r.profileFor(c.ABI.Name); p != nil && c.isCurrent() {
		if _, ok := slices.BinarySearch(p.drops, c.row.name); ok {
			return Answer{false, p.name, p.evidence}
		}
		if _, ok := slices.BinarySearch(p.adds, c.row.name); ok && !c.Never() {
			return Answer{true, p.name, p.evidence}
		}
	}
	return Answer{Has: c.In(r.Base), Source: c.Source()}
}

// isCurrent reports whether the number is the name's present one: a call that was carried back has
// the new number.
func (c Call) isCurrent() bool { return c.row.last == still }

// HasName reports whether the release has a call of the name in the ABI, under any number.
func (r Release) HasName(a *ABI, name string) bool {
	return slices.ContainsFunc(a.ByName(name), func(c Call) bool { return r.Has(c).Has })
}
