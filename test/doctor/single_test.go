package doctor

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/elfinfo/tiny"
	"binproxy/emu/sys"
	"binproxy/test/lib/need"
)

// TestSingle: a single file has the route supervise, even where that has no listener, and one line
// for a machine that refuses it. doctor says the same.
func TestSingle(t *testing.T) {
	emulator := need.Emulator(t, "aarch64")
	need.Given(t, !sys.Supervised(), "a machine that is not supervised already")
	b := newBench(t)
	single := filepath.Join(filepath.Dir(b.binproxy), "single")
	out, err := exec.Command(b.binproxy, "bundle", "--single", single, "--arch", "arm64", "--emulator", emulator).CombinedOutput()
	require.NoError(t, err, "%s", out)
	b.binproxy = single
	for _, c := range []struct {
		name         string
		restrictions []string
		root         bool
		auto         string
		want         string // a part of run's output; "" for none
		status       int    // of run
	}{
		{name: "none", auto: "supervise", status: tiny.Status},
		{name: "no listener", restrictions: []string{"-no-listener"}, auto: "supervise", status: tiny.Status},
		{name: "ordinary user without a listener", restrictions: []string{"-no-listener", "-user", "65534"}, root: true, auto: "supervise", status: tiny.Status},
		{name: "ptrace denied", restrictions: []string{"-deny", "ptrace"}, status: 125,
			want: "the route supervise is refused: ptrace(PTRACE_SEIZE): operation not permitted; a single file has no other route"},
		{name: "seccomp denied", restrictions: []string{"-deny", "seccomp"}, status: 125,
			want: "operation not permitted; a single file has no other route"},
		{name: "no memfd", restrictions: []string{"-deny", "memfd_create"}, status: 126,
			want: single + ": qemu-aarch64 in memory: memfd_create: operation not permitted"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := b
			b.t = t
			if c.root {
				need.Root(t)
			}
			stdout, stderr, status := b.run(c.restrictions, []string{"PATH=/nowhere"}, "run", "--", b.guest)
			assert.Equal(t, c.status, status, "%s%s", stdout, stderr)
			assert.Contains(t, stderr, c.want)
			if c.want == "" {
				assert.Empty(t, stderr)
			}
			if c.status == 125 {
				assert.Equal(t, 1, strings.Count(stderr, "\n"), stderr)
			}
			r, _ := b.doctor(c.restrictions, nil)
			need.Given(t, find(t, r.Guests[0].Routes, "kernel").Answer != "yes", "a host without an entry for arm64")
			assert.Equal(t, c.auto, r.Guests[0].Auto, "%v", r.Guests[0])
		})
	}
}
