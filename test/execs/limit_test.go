package execs

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"binproxy/test/lib/need"
)

// As many bytes of arguments fit as for a native program: the supervisor uses nothing of the
// kernel's limit.
func TestLimit(t *testing.T) {
	b := newBench(t, kinds[0])
	limit := func(program string) (n int) {
		o := b.supervised(t, "", nil, "@/native", "limit", program)
		_, err := fmt.Sscanf(strings.Join(o.Output, ""), "limit: %d", &n)
		require.NoError(t, err, "%v", o)
		return n
	}
	// The difference is the name of the file, which the kernel counts.
	require.InDelta(t, limit("@/native"), limit("@/probe"), 64)
}

// A 32-bit native program, with its own system calls and registers, executes guests as others do.
func TestCompat(t *testing.T) {
	b := newBench(t, kinds[0])
	object, program := filepath.Join(b.dir, "compat.o"), filepath.Join(b.dir, "compat")
	for _, c := range [][]string{
		{need.Program(t, "as", "binutils"), "--32", "-o", object, "testdata/compat.s"},
		{need.Program(t, "ld", "binutils"), "-m", "elf_i386", "-o", program, object},
	} {
		text, err := exec.Command(c[0], c[1:]...).CombinedOutput()
		require.NoError(t, err, "%s", text)
	}
	_, err := exec.Command(program).CombinedOutput()
	var ended *exec.ExitError
	need.Given(t, err == nil || errors.As(err, &ended), "a kernel that runs i386 programs")
	for _, args := range [][]string{{"@/probe", "a", "b c"}, {"@/script", "x"}, {"@/nowhere"}, {"@/noexec"}, {"@/text"}, {"@/native", "y"}} {
		t.Run(args[0], func(t *testing.T) {
			argv := append([]string{"@/compat"}, args...)
			require.Equal(t, b.kernel(t, nil, argv...), b.supervised(t, "", nil, argv...))
		})
	}
}

// The kernel needs none of the caller's descriptors for an exec. So a caller whose table is full
// of descriptors that close on exec executes guests, and one whose exec fails has all of them
// still.
func TestFullTable(t *testing.T) {
	for _, k := range kinds[:1] {
		b := newBench(t, k)
		for _, caller := range []kind{k, {compiler: "gcc", pkg: "gcc", flags: []string{"-static"}}} {
			text, err := exec.Command(need.Program(t, caller.compiler, caller.pkg), append(caller.flags, "-O1", "-o", filepath.Join(b.dir, "full"), "testdata/full.c")...).CombinedOutput()
			require.NoError(t, err, "%s", text)
			for _, free := range []string{"0", "1"} {
				for _, args := range [][]string{{"@/probe", "a", "b c"}, {"@/script", "x"}, {"@/noexec"}} {
					argv := append([]string{"@/full", "64", free}, args...)
					require.Equal(t, b.kernel(t, nil, argv...), b.supervised(t, "", nil, argv...), "%s %s, %s free: %s", k.name, caller.compiler, free, args[0])
				}
			}
		}
	}
}

// Few open files are enough for many living guests: what the supervisor has open for each of them
// does not limit how many there are.
func TestFewDescriptors(t *testing.T) {
	b := newBench(t, kinds[0])
	gcc := need.Program(t, kinds[0].compiler, kinds[0].pkg)
	text, err := exec.Command(gcc, "-static", "-O1", "-w", "-o", filepath.Join(b.dir, "crowd"), "testdata/crowd.c").CombinedOutput()
	require.NoError(t, err, "%s", text)
	prlimit := need.Program(t, "prlimit", "util-linux")
	for _, argv := range [][]string{
		{"@/crowd", "60", "@/crowd"},
		{"@/crowd", "60", "./crowd"},
		{"/bin/sh", "-c", "@/crowd ends | @/probe a | cat; @/crowd 3 @/crowd | cat"},
	} {
		want := b.kernel(t, nil, argv...)
		for _, limit := range []string{"16", "64"} {
			cmd := exec.Command(prlimit, append([]string{"--nofile=" + limit, b.binproxy, "run", "--"}, b.expand(argv)...)...)
			cmd.Dir, cmd.Env = b.dir, b.env()
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s", out)
			require.Equal(t, want.Output, strings.Split(strings.TrimSpace(string(out)), "\n"), "%v, %s", argv, limit)
		}
	}
}
