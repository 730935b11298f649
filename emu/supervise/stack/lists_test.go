package stack

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"binproxy/emu/emulator"
	"binproxy/emu/resolve"
)

// written writes lists over a stack, marks included, and returns the strings that a program then
// finds.
func written(t *testing.T, m *image, sp uint64, old Stack, l Lists) (argv, envp []string) {
	t.Helper()
	for _, mark := range l.Marks {
		m.data[mark.At-m.base] = mark.Byte
	}
	new := old.Rewrite(sp, l, nil, "name")
	copy(m.data[new.SP-m.base:], new.Bytes)
	got, err := Read(new.SP, m)
	require.NoError(t, err)
	return m.texts(t, got.Argv), m.texts(t, got.Envp)
}

func TestForEmulator(t *testing.T) {
	static := emulator.Emulator{Path: "/qemu"}
	dynamic := emulator.Emulator{Path: "/qemu", Loader: "/lib/ld.so"}
	file := resolve.File{Path: "/bin/x"}
	script := resolve.Plan{File: file, Prefix: []string{"/bin/x", "-e", "script"}, Script: true}
	environment := []string{"A=1", "LD_PRELOAD=p", "GLIBC_TUNABLES=t", "OLD_LD_=1", "LD_DEBUG=d,e"}
	loader := []string{"/lib/ld.so", "--library-path", "/lib", "--argv0", "/qemu", "/qemu", "-0"}
	for name, c := range map[string]struct {
		plan       resolve.Plan
		emulator   emulator.Emulator
		release    string
		argv       []string
		want, left []string
	}{
		"program": {resolve.Plan{File: file, Prefix: []string{""}}, static, "", []string{"zero", "a", "b"},
			[]string{"/qemu", "-0", "zero", "/bin/x", "a", "b"}, environment},
		"release": {resolve.Plan{File: file, Prefix: []string{""}}, static, "4.15", []string{"zero"},
			[]string{"/qemu", "-0", "zero", "-r", "4.15", "/bin/x"}, environment},
		"no arguments": {resolve.Plan{File: file, Prefix: []string{""}}, static, "", nil,
			[]string{"/qemu", "-0", "", "/bin/x"}, environment},
		"script": {script, static, "", []string{"zero", "a"},
			[]string{"/qemu", "-0", "/bin/x", "/bin/x", "-e", "script", "a"}, environment},
		"dynamic": {resolve.Plan{File: file, Prefix: []string{""}}, dynamic, "4.15", []string{"zero", "a"},
			append(loader[:7:7], "zero", "-r", "4.15", "-E", "LD_PRELOAD=p", "-E", "GLIBC_TUNABLES=t", "/bin/x", "a"),
			[]string{"A=1", "OLD_LD_=1", "LD_DEBUG=d,e"}},
	} {
		t.Run(name, func(t *testing.T) {
			m, sp := newImage(c.argv, environment, []uint64{0, 0})
			old, err := Read(sp, m)
			require.NoError(t, err)
			l, err := old.ForEmulator(c.plan, c.emulator, c.release, m)
			require.NoError(t, err)
			argv, envp := written(t, m, sp, old, l)
			require.Equal(t, c.want, argv)
			require.Equal(t, c.left, envp)
		})
	}
	_, err := Stack{Envp: []uint64{1}}.ForEmulator(script, dynamic, "", &image{})
	require.ErrorIs(t, err, unix.EFAULT)
}

func TestForTwin(t *testing.T) {
	environment := []string{"A=1", "LD_PRELOAD=p", "PATH=/guest", "GLIBC_TUNABLES=t"}
	hidden := []string{"A=1", "\x01D_PRELOAD=p", "PATH=/guest", "\x02LIBC_TUNABLES=t"}
	twin := resolve.Twin{Loader: "/t/ld.so", Libraries: "/t", File: "/t/gcc"}
	preloaded, edited, environed := twin, twin, twin
	preloaded.Preload = "/t/unhide.so"
	edited.First, edited.Replace, edited.Last = []string{"-first"}, map[int]string{1: "B"}, []string{"-last"}
	environed.Env = []string{"PATH=/twin", "NEW=x"}
	static := resolve.Twin{File: "/t/link", First: []string{"-first"}, Replace: map[int]string{1: "B"}, Env: environed.Env}
	for name, c := range map[string]struct {
		twin       resolve.Twin
		prefix     []string
		script     bool
		argv       []string
		want, left []string
	}{
		"plain": {twin, []string{""}, false, []string{"zero", "a"},
			[]string{"/t/ld.so", "--inhibit-cache", "--library-path", "/t", "--argv0", "zero", "/t/gcc", "a"}, environment},
		"script": {twin, []string{"/bin/gcc", "script"}, true, []string{"zero", "a"},
			[]string{"/t/ld.so", "--inhibit-cache", "--library-path", "/t", "--argv0", "/bin/gcc", "/t/gcc", "script", "a"}, environment},
		"hidden": {preloaded, []string{""}, false, []string{"zero"},
			[]string{"/t/ld.so", "--inhibit-cache", "--library-path", "/t", "--preload", "/t/unhide.so", "--argv0", "zero", "/t/gcc"}, hidden},
		"edited": {edited, []string{""}, false, []string{"zero", "a", "b"},
			[]string{"/t/ld.so", "--inhibit-cache", "--library-path", "/t", "--argv0", "zero", "/t/gcc", "-first", "a", "B", "-last"}, environment},
		"environment": {environed, []string{""}, false, []string{"zero"},
			[]string{"/t/ld.so", "--inhibit-cache", "--library-path", "/t", "--argv0", "zero", "/t/gcc"},
			[]string{"A=1", "\x01D_PRELOAD=p", "PATH=/twin", "\x02LIBC_TUNABLES=t", "NEW=x"}},
		"static": {static, []string{""}, false, []string{"zero", "a", "b"}, []string{"zero", "-first", "a", "B"},
			[]string{"A=1", "LD_PRELOAD=p", "PATH=/twin", "GLIBC_TUNABLES=t", "NEW=x"}},
		"a static script": {static, []string{"/bin/link", "script"}, true, []string{"zero", "a"}, []string{"/bin/link", "-first", "script", "B"},
			[]string{"A=1", "LD_PRELOAD=p", "PATH=/twin", "GLIBC_TUNABLES=t", "NEW=x"}},
	} {
		t.Run(name, func(t *testing.T) {
			m, sp := newImage(c.argv, environment, []uint64{0, 0})
			old, err := Read(sp, m)
			require.NoError(t, err)
			l, err := old.ForTwin(resolve.Plan{Prefix: c.prefix, Script: c.script, Twin: &c.twin}, m)
			require.NoError(t, err)
			argv, envp := written(t, m, sp, old, l)
			require.Equal(t, c.want, argv)
			require.Equal(t, c.left, envp)
		})
	}
	broken := resolve.Plan{Prefix: []string{""}, Twin: &preloaded}
	_, err := Stack{Envp: []uint64{1}}.ForTwin(broken, &image{})
	require.ErrorIs(t, err, unix.EFAULT)
}

func TestStrings(t *testing.T) {
	m, sp := newImage([]string{"a", "", "c"}, nil, []uint64{0, 0})
	got, err := NewBudget(0).Strings(sp+wordSize, m)
	require.NoError(t, err)
	require.Equal(t, []string{"a", "", "c"}, got)
	got, err = NewBudget(0).Strings(0, m)
	require.NoError(t, err)
	require.Empty(t, got)
	_, err = NewBudget(0).Strings(1, m)
	require.ErrorIs(t, err, unix.EFAULT)

	_, err = NewBudget(unix.RLIM_INFINITY).Strings(0x1000, repeated("", maxStrings+1))
	require.ErrorIs(t, err, ErrTooMany)
}

// repeated is memory with a list of pointers at 0x1000, all to the same string.
func repeated(text string, count int) *image {
	m := &image{0x1000, make([]byte, (count+1)*wordSize+pageSize, (count+1)*wordSize+pageSize+len(text)+1)}
	for i := range count {
		binary.LittleEndian.PutUint64(m.data[i*wordSize:], m.base+uint64(len(m.data)))
	}
	m.data = append(append(m.data, text...), 0)
	return m
}

// The strings of an exec are read up to the kernel's limit for them, and no further: argv and
// environment together.
func TestBudget(t *testing.T) {
	longest := strings.Repeat("x", maxString-1)
	cost := uint64(maxString + wordSize)
	for _, c := range []struct{ limit, want uint64 }{
		{0, leastBudget / cost}, {8 << 20, (2 << 20) / cost}, {unix.RLIM_INFINITY, mostBudget / cost},
	} {
		fits := repeated(longest, int(c.want))
		b := NewBudget(c.limit)
		got, err := b.Strings(fits.base, fits)
		require.NoError(t, err)
		require.Len(t, got, int(c.want))
		_, err = b.Strings(fits.base, repeated(longest, 1))
		require.ErrorIs(t, err, ErrTooMany, "the environment comes on top")
		_, err = NewBudget(c.limit).Strings(fits.base, repeated(longest, 20000))
		require.ErrorIs(t, err, ErrTooMany)
	}
	_, err := NewBudget(unix.RLIM_INFINITY).Strings(0x1000, repeated(longest+"x", 1))
	require.ErrorIs(t, err, unix.ENAMETOOLONG, "a string has a limit of its own")
}
