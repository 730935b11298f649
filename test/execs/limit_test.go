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
