package check

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"binproxy/emu/kernel"
)

// softInLibc are the calls that a libc does not depend on: after ENOSYS it uses older ones. They
// are soft in static programs too, which contain the libc. Sorted.
var softInLibc = []string{"clock_getres_time64", "clock_gettime64", "clock_nanosleep_time64", "clone3", "execveat", "faccessat2", "fchmodat2", "futex_time64", "getrandom",
	"membarrier", "ppoll_time64", "pselect6_time64", "rseq", "statx", "timer_settime64", "utimensat_time64"}

// emulated is the call that glibc makes out of older ones, under its own name, where it is
// missing.
const emulated = "statx"

// libcGaveUpTheTag is the first glibc whose loader no longer compares .note.ABI-tag with the
// running kernel.
const libcGaveUpTheTag = "2.36"

// judge gives the findings on all objects, with the libc of the image; named is the libc that the
// user named.
func (c *collector) judge(k Kernel, named Libc) []Finding {
	var list []Finding
	for i := range c.objects {
		o := &c.objects[i]
		l := named
		if l.name == "" && o.abi != nil {
			l = c.libcs[o.abi.Name]
		}
		list = append(list, c.judgeObject(o, l, k)...)
	}
	list = append(list, c.knownCases(k, named)...)
	return sorted(list)
}

// sorted puts the findings in order: the worst first, each kind by file. It sorts pointers, since
// all sorts of pointers are one piece of code.
func sorted(list []Finding) []Finding {
	order := make([]*Finding, len(list))
	for i := range list {
		order[i] = &list[i]
	}
	slices.SortStableFunc(order, func(a, b *Finding) int {
		return cmp.Or(rank(a.Kind)-rank(b.Kind), strings.Compare(a.File, b.File))
	})
	out := make([]Finding, len(list))
	for i, f := range order {
		out[i] = *f
	}
	return out
}

func rank(k Kind) int { return slices.Index([]Kind{Hard, Poisoned, Unknown, Soft}, k) }

func (c *collector) judgeObject(o *object, l Libc, k Kernel) []Finding {
	switch {
	case o.damage != "":
		return []Finding{{File: o.name, Need: "cannot be read: " + o.damage, Sure: Note, Kind: Unknown, Do: "replace the file, or leave it out", Source: "the file"}}
	case o.abi == nil:
		return []Finding{{File: o.name, Need: "an ABI whose calls the tables do not have", Sure: Note, Kind: Unknown, Do: "look at it by hand", Source: "table: none"}}
	}
	if port := o.abi.ByName("execve")[0]; !k.Release.Has(port).Has {
		return []Finding{{File: o.name, Need: "Linux " + port.Since() + ", the first for " + o.abi.Name, Since: port.Since(), Sure: Note, Kind: Hard, Do: "run it on a newer kernel, or under an emulator", Source: "table: " + port.Source()}}
	}
	list := judgeTag(o, l, k)
	list = append(list, judgeGo(o, k)...)
	list = append(list, c.judgeImports(o, k)...)
	return append(list, judgeNumbers(o, k)...)
}

// judgeTag compares .note.ABI-tag with the release as the loader of the image's glibc does: for
// libraries, but not for the program, which the kernel has loaded already.
func judgeTag(o *object, l Libc, k Kernel) []Finding {
	if !o.tagged || o.exec && !isGlibc(o.name) || l.name == "musl" || !newer(o.tag, k.Release) {
		return nil
	}
	f := Finding{
		File: o.name, Sure: Note, Since: fmt.Sprintf("%d.%d.%d", o.tag[0], o.tag[1], o.tag[2]),
		Source: "release " + k.Release.Text,
	}
	f.Need = "Linux " + f.Since + " by its .note.ABI-tag"
	switch {
	case o.static || isGlibc(o.name):
		f.Kind, f.Do = Hard, "use a libc built for an older kernel; it says \"FATAL: kernel too old\""
		if l.version != "" && !less(l.version, libcGaveUpTheTag) {
			f.Kind, f.Do = Unknown, "glibc "+l.version+" no longer refuses to start, but was built without support for older kernels"
		}
	case l.version == "":
		f.Kind, f.Do = Unknown, "name the image's libc (--libc glibc-VERSION), or check its libc.so.6 together with the file: glibc before "+libcGaveUpTheTag+" refuses the file"
	case less(l.version, libcGaveUpTheTag):
		f.Kind, f.Do = Hard, "the loader of glibc "+l.version+" says \"cannot open shared object file\": remove the note (strip --remove-section=.note.ABI-tag), or use glibc "+libcGaveUpTheTag+" or newer"
	default:
		f.Kind, f.Do = Soft, "nothing: glibc "+l.version+" does not look at the note"
	}
	return []Finding{f}
}

func isGlibc(name string) bool {
	base := path.Base(name)
	return base == "libc.so.6" || strings.HasPrefix(base, "ld-linux") || strings.HasPrefix(base, "libc-2.") || strings.HasPrefix(base, "ld-2.")
}

// newer compares a note's version with uname's release: a loader knows nothing of backports.
func newer(tag [3]uint32, r kernel.Release) bool {
	uname := r.Numbers()
	for i := range tag {
		if int(tag[i]) != uname[i] {
			return int(tag[i]) > uname[i]
		}
	}
	return false
}

// judgeGo knows which kernels Go's runtime requires: 2.6.32 since Go 1.18, 3.2 since Go 1.24 (its
// release notes).
func judgeGo(o *object, k Kernel) []Finding {
	version := leadingVersion(strings.TrimPrefix(o.goBuilt, "go"))
	if version == "" {
		return nil
	}
	wants := [3]uint32{2, 6, 32}
	switch {
	case !less(version, "1.24"):
		wants = [3]uint32{3, 2, 0}
	case less(version, "1.18"):
		wants = [3]uint32{2, 6, 23}
	}
	if !newer(wants, k.Release) {
		return nil
	}
	since := strings.TrimSuffix(fmt.Sprintf("%d.%d.%d", wants[0], wants[1], wants[2]), ".0")
	return []Finding{{File: o.name, Need: "Linux " + since + ", as a program of " + o.goBuilt, Since: since, Sure: Note, Kind: Hard,
		Do: "build it with an older Go (1.23 wants 2.6.32)", Source: "release " + k.Release.Text}}
}

// judgeImports looks at the calls in the code of each libc function that an object imports, or at
// the function's name where the libc's code is missing.
func (c *collector) judgeImports(o *object, k Kernel) []Finding {
	if o.static || isGlibc(o.name) {
		return nil
	}
	var list []Finding
	for _, name := range o.imports {
		lacking, have := c.callsOf(o.abi, name, k)
		for _, call := range lacking {
			f := finding(o, call, k)
			f.Sure, f.Need = Import, "the call "+call.Name+", through "+name+" of the libc"
			if len(have) > 0 || name != call.Name && slices.Contains(softInLibc, call.Name) || name == emulated {
				f.soften("nothing: the libc goes on by older calls")
			}
			list = append(list, f)
		}
	}
	return list
}

// callsOf gives the calls that a libc function makes: those that the kernel lacks, and those that
// it has.
func (c *collector) callsOf(a *kernel.ABI, function string, k Kernel) (lacking, have []kernel.Call) {
	calls := a.ByName(function)
	if numbers, ok := c.functions[a.Name][function]; ok {
		calls = nil
		for _, nr := range numbers {
			calls = append(calls, a.ByNumber(nr)...)
		}
	}
	for _, call := range calls {
		answer := k.Answer(call)
		if answer.Has && !answer.Refused {
			have = append(have, call)
		} else if !call.Never() {
			lacking = append(lacking, call)
		}
	}
	return lacking, have
}

// judgeNumbers looks at the constant numbers in a static program's code.
func judgeNumbers(o *object, k Kernel) []Finding {
	var list []Finding
	for _, nr := range o.numbers {
		for _, call := range o.abi.ByNumber(nr) {
			if answer := k.Answer(call); answer.Has && !answer.Refused || call.Never() {
				continue
			}
			f := finding(o, call, k)
			f.Sure, f.Need = Code, "the call "+call.Name+", whose number stands in its code"
			if slices.Contains(softInLibc, call.Name) {
				f.soften("nothing: the libc inside it goes on by older calls")
			}
			list = append(list, f)
		}
	}
	return list
}

// finding is a call that the kernel lacks or refuses; whether the program needs it is unknown.
func finding(o *object, call kernel.Call, k Kernel) Finding {
	answer := k.Answer(call)
	f := Finding{File: o.name, Call: call.Name, Since: call.Since(), Kind: Unknown, Source: answer.Source,
		Do: "find out whether it goes on after ENOSYS: binproxy kernel run --as " + k.Release.Text + ", or kernel record"}
	if answer.Refused {
		f.Kind, f.Do = Poisoned, "let the container engine's seccomp profile answer ENOSYS or allow the call (a newer engine and libseccomp do)"
		if seen := symptom(call.Name); seen != "" {
			f.Do += "; until then " + seen
		}
	}
	return f
}

// symptom is what people see if a filter answers EPERM to a call, for calls that often fail in
// this way.
func symptom(call string) string {
	switch {
	case call == "clone3":
		return "no thread starts: \"GC Thread#0\" of the JVM, \"Problem executing scripts\" of apt, \"pthread_create: Operation not permitted\""
	case call == "faccessat2":
		return "files do not count as executable for make, bash and test -x"
	case call == "statx":
		return "ls, stat and Qt programs cannot look at files"
	case strings.HasSuffix(call, "time64"):
		return "clocks and sleeps of 32-bit programs fail, as in Alpine 3.13 and later"
	}
	return ""
}

// soften records that a libc works without the call; it does not after EPERM from a filter.
func (f *Finding) soften(do string) {
	if f.Kind != Poisoned {
		f.Kind, f.Do = Soft, do
	}
}

// knownCases are cases from practice that the files do not show.
func (c *collector) knownCases(k Kernel, named Libc) []Finding {
	var list []Finding
	for i := range c.objects {
		o := &c.objects[i]
		if path.Base(o.name) == "systemd" && strings.HasSuffix(path.Dir(o.name), "/systemd") && newer([3]uint32{3, 15, 0}, k.Release) {
			list = append(list, Finding{File: o.name, Need: "Linux 3.15, as systemd", Since: "3.15", Sure: Known, Kind: Hard, Do: "run the service without systemd, or on a newer kernel", Source: "release " + k.Release.Text})
		}
		if f, ok := c.clone3Refused(o, k, named); ok {
			list = append(list, f)
		}
	}
	return list
}

// clone3Refused is the case of glibc since 2.34 under an engine whose filter answers EPERM to
// clone3: no thread and no child starts ("pthread_create: Operation not permitted", the JVM's "GC
// Thread#0", apt's "Problem executing scripts").
func (c *collector) clone3Refused(o *object, k Kernel, named Libc) (Finding, bool) {
	if !isGlibc(o.name) || !strings.HasPrefix(path.Base(o.name), "libc") || o.abi == nil {
		return Finding{}, false
	}
	l := c.libcs[o.abi.Name]
	if named.name != "" {
		l = named
	}
	calls := o.abi.ByName("clone3")
	if l.version == "" || less(l.version, "2.34") || len(calls) == 0 || !k.Answer(calls[0]).Refused {
		return Finding{}, false
	}
	f := finding(o, calls[0], k)
	f.Sure, f.Need = Known, "the call clone3 or ENOSYS from it, as glibc "+l.version+": else no thread starts"
	return f, true
}
