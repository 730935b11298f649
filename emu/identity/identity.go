// Package identity is the uname identity: the five strings of uname(2) that a program is told,
// where each is configured, and what follows when only some of them are.
//
// A field comes, in this order, from the environment (BINPROXY_RELEASE and its siblings), from the
// bundle's configuration file, or from the running kernel; the machine's default is the guest's.
// Fields that nobody set stay what the kernel says. Release and version belong together: a version
// never comes with the release of another source.
package identity

import (
	"fmt"
	"slices"
	"strings"

	"binproxy/emu/sys"
)

// MaxField is the longest field in bytes: struct utsname has 65, one of them for the NUL.
const MaxField = 64

// Identity is what uname(2) answers; an empty field is one that nobody set.
type Identity struct {
	Sysname, Nodename, Release, Version, Machine string
}

// A Field is one of the five: its name in the configuration file and the environment, and its
// place in an Identity.
type Field struct {
	Key string // in the configuration file
	Env string // in the environment
	Of  func(*Identity) *string
}

// Fields lists the five in the order of struct utsname.
var Fields = [...]Field{
	{"sysname", "BINPROXY_SYSNAME", func(i *Identity) *string { return &i.Sysname }},
	{"nodename", "BINPROXY_NODENAME", func(i *Identity) *string { return &i.Nodename }},
	{"release", "BINPROXY_RELEASE", func(i *Identity) *string { return &i.Release }},
	{"version", "BINPROXY_VERSION", func(i *Identity) *string { return &i.Version }},
	{"machine", "BINPROXY_MACHINE", func(i *Identity) *string { return &i.Machine }},
}

// FollowingVersion is the version of a release that came without one. The kernel's own version
// would contradict that release: Debian's contains the true one ("Debian 6.1.137-1"), which libuv
// and libbpf read. This one names no build, so a Dockerfile line prints the same on every host.
const FollowingVersion = "#1 SMP"

// Values are the five fields, in the order of Fields.
func (i *Identity) Values() []*string {
	return []*string{&i.Sysname, &i.Nodename, &i.Release, &i.Version, &i.Machine}
}

// IsZero reports whether no field is set.
func (i Identity) IsZero() bool { return i == Identity{} }

// Over gives the identity, with base's fields where i has none.
func (i Identity) Over(base Identity) Identity {
	for _, f := range Fields {
		if v := f.Of(&i); *v == "" {
			*v = *f.Of(&base)
		}
	}
	return i
}

// FromEnv reads the fields that the environment sets; an empty variable sets nothing.
func FromEnv(getenv func(string) string) Identity {
	var i Identity
	for _, f := range Fields {
		*f.Of(&i) = getenv(f.Env)
	}
	return i
}

// Into gives env with the variables of the fields that are set, for FromEnv to read later. If the
// release is set, it drops the version of another release.
func (i Identity) Into(env []string) []string {
	if i.Release != "" && i.Version == "" {
		env = without(env, "BINPROXY_VERSION")
	}
	for _, f := range Fields {
		if v := *f.Of(&i); v != "" {
			env = append(without(env, f.Env), f.Env+"="+v)
		}
	}
	return env
}

func without(env []string, name string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(entry string) bool { return strings.HasPrefix(entry, name+"=") })
}

// Kernel is the identity that the running kernel shows this process.
func Kernel() (Identity, error) {
	var i Identity
	values, err := sys.Uname()
	for n, f := range Fields {
		*f.Of(&i) = values[n]
	}
	return i, err
}

// Recorded is the part of a machine's identity that is shown elsewhere: release and version. The
// other fields name that machine.
func (i Identity) Recorded() Identity { return Identity{Release: i.Release, Version: i.Version} }

// Configured is the identity for programs: from the environment, else from the file.
func Configured(configured Identity, getenv func(string) string) Identity {
	return Chosen(FromEnv(getenv), configured)
}

// Chosen combines the places where an identity is set, given in order of precedence. A release
// drops the version that a later place has for another release, and a release without a version
// gets FollowingVersion.
func Chosen(places ...Identity) Identity {
	var i Identity
	for _, p := range places {
		if i.Release != "" && p.Release != "" && i.Release != p.Release {
			p.Version = ""
		}
		i = i.Over(p)
	}
	if i.Release != "" && i.Version == "" {
		i.Version = FollowingVersion
	}
	return i
}

// Check refuses a field that uname(2) could not hold: too long, or with a byte that is not
// printable.
func (i Identity) Check() error {
	for _, f := range Fields {
		v := *f.Of(&i)
		if len(v) > MaxField {
			return fmt.Errorf("%s %q has %d bytes; uname(2) holds %d", f.Key, v, len(v), MaxField)
		}
		if strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return fmt.Errorf("%s %q has a control character", f.Key, v)
		}
	}
	return nil
}
