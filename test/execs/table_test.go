package execs

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"binproxy/test/lib/need"
)

// execCase is one exec. The first word of args is the program that execs, the others are the
// probe's.
type execCase struct {
	name string
	args []string
	env  []string
	root bool     // needs root
	not  []string // places where it cannot be the same: see docs/supervise.md

	// native, a reason, makes the native probe under the kernel the reference: there the kernel's
	// binfmt_misc, or the emulator with it, is further from the real architecture than we are.
	native string

	// differs lists the fields that differ from the reference's on purpose. docs/supervise.md
	// gives the reasons: "execfn", because the emulator has one path for AT_EXECFN and for
	// /proc/self/exe, and programs use the latter; "exe", because only a path can answer it.
	differs []string
}

var cases = []execCase{
	{name: "show", args: []string{"@/probe"}},
	{name: "relative", args: []string{"./probe", "exec", "./probe", "a", ""}},
	{name: "status", args: []string{"./probe", "exec", "./probe"}, env: []string{"STATUS=41"}},
	{name: "absolute", args: []string{"@/native", "exec", "@/probe", "a b", "c"}},
	{name: "to native", args: []string{"@/probe", "exec", "@/native", "a b", "c"}},
	{name: "argv0", args: []string{"@/native", "argv0", "@/probe", "other name", "x"}},
	{name: "empty argv0", args: []string{"@/native", "argv0", "@/probe", "", "x"}},
	{name: "argv0 by guest", args: []string{"@/probe", "argv0", "@/probe", "-0", "x"}},
	{name: "argv0 script", args: []string{"@/native", "argv0", "@/script", "other name", "x"}},
	{name: "no argv", args: []string{"@/native", "noargv", "@/probe"}},
	{name: "null argv", args: []string{"@/native", "nullargv", "@/probe"}},
	{name: "no argv script", args: []string{"@/native", "noargv", "@/scriptarg"}},
	{name: "cleared", args: []string{"@/native", "cleared", "@/probe", "a"}},
	{name: "cleared by guest", args: []string{"@/probe", "cleared", "@/probe", "a"}},
	{name: "bad argv", args: []string{"@/native", "badargv", "@/probe"}},
	{name: "bad path", args: []string{"@/native", "badpath", "@/probe"}},

	{name: "gone", args: []string{"@/probe", "exec", "@/nowhere"}},
	{name: "empty path", args: []string{"@/native", "exec", ""}},
	{name: "directory", args: []string{"@/probe", "exec", "@/dir"}},
	{name: "not executable", args: []string{"@/probe", "exec", "@/noexec"}},
	{name: "not a directory", args: []string{"@/probe", "exec", "@/probe/x"}},
	{name: "trailing slash", args: []string{"@/probe", "exec", "@/probe/"}},
	{name: "dangling", args: []string{"@/probe", "exec", "@/dangling"}},
	{name: "loop", args: []string{"@/probe", "exec", "@/loop"}},
	{name: "empty file", args: []string{"@/probe", "exec", "@/empty"}},
	{name: "text", args: []string{"@/probe", "exec", "@/text"}},
	{name: "fifo", args: []string{"@/probe", "exec", "@/fifo"}},
	{name: "device", args: []string{"@/probe", "exec", "/dev/null"}},
	{name: "long path", args: []string{"@/native", "longpath"}},
	{name: "long argument", args: []string{"@/native", "long", "@/probe"}},
	{name: "long argument by guest", args: []string{"@/probe", "long", "@/probe"}},
	{name: "busy", args: []string{"@/native", "busy", "@/owner"}},
	{name: "twice", args: []string{"@/native", "twice", "@/probe"}},
	{name: "twice by guest", args: []string{"@/probe", "twice", "@/probe"}},
	{name: "stays", args: []string{"@/native", "stays", "@/noexec"}},
	{name: "unreadable", args: []string{"@/native", "exec", "@/unreadable"}, root: true},
	{name: "set-user-id", args: []string{"@/native", "exec", "@/setuid"}},

	{name: "link", args: []string{"@/probe", "exec", "./link", "x"}},
	{name: "absolute link", args: []string{"@/probe", "exec", "./linkabs", "x"}},
	{name: "link to script", args: []string{"@/probe", "exec", "./linkscript", "x"}},
	{name: "link up", args: []string{"@/native", "exec", "dir/up", "x"}},
	{name: "dots", args: []string{"@/native", "exec", "dir/.././/probe", "x"}},
	{name: "space", args: []string{"@/native", "exec", "./name with space", "x"}},
	{name: "dash", args: []string{"@/native", "exec", "-dash", "x"}, native: "QEMU takes such a name from binfmt_misc for an option", differs: []string{"execfn"}},
	{name: "long name", args: []string{"@/native", "exec", "./a-name-that-is-longer-than-comm", "x"}},

	{name: "script", args: []string{"@/probe", "exec", "./script", "x", "y"}},
	{name: "script with argument", args: []string{"@/probe", "exec", "./scriptarg", "x", "y"}},
	{name: "script by relative interpreter", args: []string{"@/probe", "exec", "./scriptrel", "x"}},
	{name: "absolute script by relative interpreter", args: []string{"@/native", "exec", "@/scriptrel", "x"}},
	{name: "script without end", args: []string{"@/probe", "exec", "./scriptnoend", "x"}},
	{name: "script with CR", args: []string{"@/probe", "exec", "./scriptcr", "x"}},
	{name: "script blank", args: []string{"@/probe", "exec", "./scriptblank", "x"}},
	{name: "script without interpreter", args: []string{"@/probe", "exec", "./scriptgone", "x"}},
	{name: "script for directory", args: []string{"@/probe", "exec", "./scriptdir", "x"}},
	{name: "script for not executable", args: []string{"@/probe", "exec", "./scriptnoexec", "x"}},
	{name: "script for text", args: []string{"@/probe", "exec", "./scripttext", "x"}},
	{name: "script for native", args: []string{"@/probe", "exec", "./scriptnative", "x"}},
	{name: "script cut", args: []string{"@/probe", "exec", "./scriptcut", "x"}},
	{name: "script long", args: []string{"@/probe", "exec", "./scriptlong", "x"}},
	{name: "nested 1", args: []string{"@/probe", "exec", "./nested1", "x"}},
	{name: "nested 4", args: []string{"@/probe", "exec", "./nested4", "x"}, native: "binfmt_misc counts as one more level", differs: []string{"execfn"}},
	{name: "nested 5", args: []string{"@/probe", "exec", "./nested5", "x"}},
	{name: "nested 6", args: []string{"@/native", "exec", "./nested6", "x"}},

	{name: "at", args: []string{"@/native", "at", "@/dir", "../probe", "x"}, native: "a file that closes on exec, or is nowhere, is not there for binfmt_misc's interpreter", differs: []string{"execfn"}},
	{name: "at absolute", args: []string{"@/native", "at", "@/dir", "@/probe", "x"}},
	{name: "at script", args: []string{"@/native", "at", "@/dir", "../script", "x"}},
	{name: "at script by relative interpreter", args: []string{"@/native", "at", "@/dir", "../scriptrel", "x"}},
	{name: "at file", args: []string{"@/native", "at", "@/probe", "x"}},
	{name: "at cwd", args: []string{"@/native", "atcwd", "probe", "x"}},
	{name: "no follow", args: []string{"@/native", "nofollow", "@/probe", "x"}},
	{name: "no follow link", args: []string{"@/native", "nofollow", "@/link", "x"}},
	{name: "no follow script", args: []string{"@/native", "nofollow", "@/linkscript", "x"}},
	{name: "bad flags", args: []string{"@/native", "badflags", "@/probe", "x"}},
	{name: "bad descriptor", args: []string{"@/native", "badfd", "probe", "x"}},
	{name: "bad empty descriptor", args: []string{"@/native", "emptyfd", "probe", "x"}},
	{name: "empty without flag", args: []string{"@/native", "emptynoflag", "probe", "x"}},
	{name: "descriptor", args: []string{"@/native", "fd", "@/probe", "x"}, native: "a file that closes on exec, or is nowhere, is not there for binfmt_misc's interpreter", differs: []string{"execfn"}},
	{name: "descriptor cloexec", args: []string{"@/native", "fdcloexec", "@/probe", "x"}, native: "a file that closes on exec, or is nowhere, is not there for binfmt_misc's interpreter", differs: []string{"execfn"}},
	{name: "descriptor path", args: []string{"@/native", "fdpath", "@/probe", "x"}, native: "a file that closes on exec, or is nowhere, is not there for binfmt_misc's interpreter", differs: []string{"execfn"}},
	{name: "descriptor directory", args: []string{"@/native", "fdpath", "@/dir", "x"}},
	{name: "descriptor script", args: []string{"@/native", "fd", "@/script", "x"}, native: "the process is called qemu", differs: []string{"execfn"}},
	{name: "descriptor script cloexec", args: []string{"@/native", "fdcloexec", "@/script", "x"}},
	{name: "memory", args: []string{"@/native", "memfd", "@/probe", "x"}, native: "a file that closes on exec, or is nowhere, is not there for binfmt_misc's interpreter", differs: []string{"exe"}, not: []string{listener}},
	{name: "memory script", args: []string{"@/native", "memfd", "@/script", "x"}, native: "a file that closes on exec, or is nowhere, is not there for binfmt_misc's interpreter"},
	{name: "proc descriptor", args: []string{"@/native", "procfd", "@/probe", "x"}, differs: []string{"execfn"}},
	{name: "dev descriptor", args: []string{"@/native", "devfd", "@/probe", "x"}, differs: []string{"execfn"}},
	{name: "dev descriptor script", args: []string{"@/native", "devfd", "@/script", "x"}},
	{name: "deleted", args: []string{"@/native", "deleted", "@/owner", "x"}, not: []string{listener}},

	{name: "own program", args: []string{"@/probe", "exec", "/proc/self/exe", "x"}, native: "QEMU executes the path of its guest instead", differs: []string{"execfn", "comm"}},
	{name: "own program by thread", args: []string{"@/probe", "exec", "/proc/thread-self/exe", "x"}, native: "the emulator's own file is executed", differs: []string{"execfn"}},
	{name: "own program of native", args: []string{"@/native", "exec", "/proc/self/exe", "x"}},
	{name: "own directory", args: []string{"@/probe", "exec", "/proc/self/cwd/probe", "x"}, differs: []string{"execfn"}},
	{name: "own root", args: []string{"@/native", "exec", "/proc/self/root@/linkabs", "x"}, differs: []string{"execfn"}},

	{name: "files", args: []string{"@/probe", "files", "@/probe"}},
	{name: "signals", args: []string{"@/probe", "signals", "@/probe"}},
	{name: "signals by native", args: []string{"@/native", "signals", "@/probe"}},
	{name: "session", args: []string{"@/native", "session", "@/probe"}},
	{name: "thread", args: []string{"@/probe", "thread", "@/probe", "x"}},
	{name: "thread of native", args: []string{"@/native", "thread", "@/probe", "x"}},
	{name: "thread fails", args: []string{"@/native", "thread", "@/noexec", "x"}},
	{name: "thread to native", args: []string{"@/probe", "thread", "@/native", "x"}},
	{name: "vfork fails", args: []string{"@/native", "vforkfails", "@/noexec", "x"}},
	{name: "vfork fails for format", args: []string{"@/native", "vforkfails", "@/cut", "x"}, native: "binfmt_misc takes a file by its first 20 bytes, QEMU refuses it"},
	{name: "vfork fails by guest", args: []string{"@/probe", "vforkfails", "@/noexec", "x"}},
	{name: "spawn fails", args: []string{"@/native", "spawn", "@/nowhere", "x"}},
	{name: "spawn fails by guest", args: []string{"@/probe", "spawn", "@/nowhere", "x"}},
	{name: "spawn", args: []string{"@/native", "spawn", "@/probe", "x"}, env: []string{"EXITS="}},

	{name: "user", args: []string{"@/native", "user", "@/probe", "x"}, root: true},
	{name: "user by guest", args: []string{"@/probe", "user", "@/probe", "x"}, root: true},
	{name: "user script", args: []string{"@/probe", "user", "@/script", "x"}, root: true},
	{name: "user denied", args: []string{"@/probe", "user", "@/owner", "x"}, root: true},
	{name: "user denied directory", args: []string{"@/probe", "user", "@/closed/probe", "x"}, root: true},
	{name: "user unreadable", args: []string{"@/native", "user", "@/unreadable", "x"}, root: true, not: []string{listener}},
	{name: "kept capabilities, unreadable", args: []string{"@/native", "keepcaps", "@/unreadable", "x"}, root: true, not: []string{listener}},
	{name: "kept capabilities, denied directory", args: []string{"@/native", "keepcaps", "@/closed/probe", "x"}, root: true, not: []string{listener}},
	{name: "kept capabilities, script in it", args: []string{"@/native", "keepcaps", "@/closed/script", "x"}, root: true, not: []string{listener}},
	{name: "effective", args: []string{"@/native", "effective", "@/probe", "x"}, root: true, not: []string{container}},
	{name: "undumpable", args: []string{"@/native", "undumpable", "@/probe", "x"}},
	{name: "chroot", args: []string{"@/native", "chroot", "@/root", "/bin/probe", "x"}, root: true, not: []string{listener}},
	{name: "chroot by guest", args: []string{"@/probe", "chroot", "@/root", "bin/probe", "x"}, root: true, not: []string{listener}},
	{name: "chroot link", args: []string{"@/probe", "chroot", "@/root", "/link", "x"}, root: true, not: []string{listener}},
	{name: "chroot climbs", args: []string{"@/probe", "chroot", "@/root", "bin/climbs", "x"}, root: true, not: []string{listener}},
	{name: "chroot script", args: []string{"@/probe", "chroot", "@/root", "/bin/script", "x"}, root: true, not: []string{listener}},
	{name: "chroot gone", args: []string{"@/probe", "chroot", "@/root", "@/probe", "x"}, root: true},
	{name: "pivot", args: []string{"@/native", "pivot", "@/root", "/link", "x"}, root: true, native: "the reference's binfmt_misc is unmounted with the old root", differs: []string{"exe"}, not: []string{container, listener}},
	{name: "pivot by guest", args: []string{"@/probe", "pivot", "@/root", "/bin/script", "x"}, root: true, native: "the reference's binfmt_misc is unmounted with the old root", differs: []string{"execfn", "exe"}, not: []string{container, listener}},
	{name: "no proc", args: []string{"@/probe", "noproc", "@/script", "x"}, root: true, native: "the reference's binfmt_misc goes with /proc", differs: []string{"execfn", "exe"}, not: []string{container, listener}},
}

// reference is the kernel's outcome.
func (b *bench) reference(t *testing.T, c execCase) outcome {
	t.Helper()
	if c.native == "" {
		return b.kernel(t, c.env, c.args...)
	}
	n := b.nativeTwin(t)
	o := runIn(t, n.dir, b.env(c.env...), nil, n.expand(c.args)...)
	for i, line := range o.Output {
		o.Output[i] = strings.ReplaceAll(line, n.dir, b.dir)
	}
	return o
}

// Every field of every exec's outcome is the same as the kernel's.
func TestReference(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			if k.name != "aarch64 dynamic" && k.name != "arm static" {
				need.Long(t)
			}
			b := newBench(t, k)
			b.nativeTwin(t)
			for _, c := range cases {
				t.Run(c.name, func(t *testing.T) {
					if c.root {
						need.Root(t)
					}
					b.restore(t)
					want := b.reference(t, c)
					b.restore(t)
					got := b.supervised(t, "", c.env, c.args...)
					require.Equal(t, want.without(c.differs), got.without(c.differs))
				})
			}
		})
	}
}

// The supervisor's place makes no difference either.
func TestPlaces(t *testing.T) {
	need.Root(t)
	b := newBench(t, kinds[0])
	b.nativeTwin(t)
	for _, place := range []string{container, old, listener} {
		t.Run(place, func(t *testing.T) {
			if place != container {
				need.Long(t)
			}
			for _, c := range cases {
				if slices.Contains(c.not, place) {
					continue
				}
				t.Run(c.name, func(t *testing.T) {
					b.restore(t)
					want := b.reference(t, c)
					b.restore(t)
					got := b.supervised(t, place, c.env, c.args...)
					require.Equal(t, want.without(c.differs), got.without(c.differs))
				})
			}
		})
	}
}

// without is the outcome without some fields.
func (o outcome) without(fields []string) outcome {
	if os.Geteuid() != 0 {
		fields = append(slices.Clone(fields), "ids") // the reference's are those of its namespace
	}
	o.Output = slices.DeleteFunc(slices.Clone(o.Output), func(line string) bool {
		name, _, _ := strings.Cut(line, ":")
		return slices.Contains(fields, name)
	})
	return o
}

// restore puts the file back that some cases delete.
func (b *bench) restore(t *testing.T) {
	t.Helper()
	probe, err := os.ReadFile(b.dir + "/probe")
	require.NoError(t, err)
	require.NoError(t, os.RemoveAll(b.dir+"/owner"))
	require.NoError(t, os.WriteFile(b.dir+"/owner", probe, 0o700))
}
