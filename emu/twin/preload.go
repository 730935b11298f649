package twin

import (
	"cmp"
	"path"
	"strings"
)

// A guest's program obeys the guest's loader, and a twin the host's, which sees none of the
// guest's variables. So there is no twin where a variable has the guest's loader do what shows.

// asks are the variables by which loaders do more than load, and those of the C library that have
// it load what may be the guest's. Others (LD_BIND_NOW, GLIBC_TUNABLES) say how to load, which no
// output depends on; LD_PRELOAD and LD_LIBRARY_PATH say what, see foreign.
var asks = [...]struct {
	name  string
	empty bool // whatever the value, also without one
}{
	{"LD_SHOW_AUXV", true},            // prints what the kernel tells of the machine
	{"LD_TRACE_LOADED_OBJECTS", true}, // prints the libraries, in place of running
	{"LD_TRACE_PRELINKING", true},     // as the one before
	{"LD_DEBUG", false},               // prints what the loader does
	{"LD_AUDIT", false},               // libraries that may change every call
	{"LD_PROFILE", false},             // counts a library's calls, into a file
	{"LD_ASSUME_KERNEL", false},       // libraries for newer kernels are passed over
	{"GCONV_PATH", true},              // modules for other encodings
}

// preloads are libraries of which a twin may do without, by how their files begin.
var preloads = [...]struct {
	file string
	only string // in these programs alone, with a space around each; "" for all
}{
	// what fsync and its like do is not done: no result depends on it
	{"libeatmydata.so", ""},
	// memory comes from another place
	{"libjemalloc", ""}, {"libtcmalloc", ""}, {"libmimalloc", ""},
	// Ids, owners, modes and devices are what the library remembers, by files' numbers: a program
	// may neither ask for them, nor set them, nor remove or rename a file, which has to be
	// forgotten then.
	{"libfakeroot", " cc1 cc1plus lto1 grep mawk gawk m4 cat head tail tr cut uniq wc comm join paste nl fold fmt tac tsort " +
		"expand unexpand basename dirname echo expr base64 md5sum sha1sum sha224sum sha256sum sha384sum sha512sum b2sum cksum sum true false sleep "},
}

// loader says which variable of the environment forbids the twin; "" if this one does not.
func (v *Verdict) loader(name, value string, c Call) string {
	for i := range asks {
		if asks[i].name == name && (value != "" || asks[i].empty) {
			return name + " is set"
		}
	}
	switch name {
	case "LD_PRELOAD":
		for _, file := range Preloaded(value) {
			if !v.without(path.Base(file)) {
				return name + ": a twin would be without " + file
			}
		}
	case "LD_LIBRARY_PATH":
		return v.foreign(value, c)
	}
	return ""
}

// Preloaded are the files that LD_PRELOAD's value names.
func Preloaded(value string) []string {
	return strings.FieldsFunc(value, func(r rune) bool { return r == ' ' || r == ':' })
}

// without reports whether the verdict's twin may do without a preloaded library.
func (v *Verdict) without(file string) bool {
	for _, p := range preloads {
		if strings.HasPrefix(file, p.file) {
			return p.only == "" || strings.Contains(p.only, " "+v.Name+" ")
		}
	}
	return false
}

// foreign says which directory of LD_LIBRARY_PATH forbids the twin: the guest's loader would take
// one of the twin's libraries from there. glibc-hwcaps and tls are directories in which it looks,
// too.
func (v *Verdict) foreign(dirs string, c Call) string {
	if dirs == "" {
		return ""
	}
	names := []string{"glibc-hwcaps", "tls"}
	for _, f := range v.set.Files {
		if dir, base := path.Split(f.Path); dir == "lib/" {
			names = append(names, base)
		}
	}
	for _, dir := range strings.Split(strings.ReplaceAll(dirs, ";", ":"), ":") {
		dir = cmp.Or(dir, ".")
		if strings.Contains(dir, "$") || c.Has(dir, names) {
			return "LD_LIBRARY_PATH: a twin would not look in " + dir
		}
	}
	return ""
}
