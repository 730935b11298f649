package execs

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"binproxy/test/lib/need"
)

// A dynamically linked emulator begins in its loader, and ends up with the same arguments and the
// same name as a static one.
func TestDynamicEmulator(t *testing.T) {
	emulator := need.Program(t, "qemu-aarch64", "qemu-user")
	b := newBench(t, kinds[0])
	for _, argv := range [][]string{{"@/probe", "a", "b c"}, {"@/script", "x"}, {"@/scriptarg", "x"}} {
		run := func(flags ...string) outcome {
			args := append(append([]string{b.binproxy, "run", "--route", "supervise"}, flags...), "--")
			return runIn(t, b.dir, []string{"PATH=/usr/bin:/bin", "SOME=thing"}, nil, append(args, b.expand(argv)...)...)
		}
		want := run()
		require.Contains(t, strings.Join(want.Output, "\n"), "argv[", "it shows what it got")
		require.Equal(t, want, run("--emulator", "aarch64="+emulator), argv)
	}
}
