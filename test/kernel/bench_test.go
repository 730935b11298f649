package kernel

import (
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
	"binproxy/test/built"
)

// BenchmarkFilter measures what the filter of `kernel run` costs a native program that lives from system calls (du: three for each file): the
// metric "ratio" is its CPU time under the filter to that without one, the best of several runs in turn (budget: 1.03).
//
// "floor" is the same for a program that does nothing but the cheapest calls, with our filter to that with a filter of one rule: every
// filter costs each call some 40 ns in the kernel's entry, ours nothing beyond.
func BenchmarkFilter(b *testing.B) {
	du, err := exec.LookPath("du")
	require.NoError(b, err)
	busy := compiled(b, "busy")
	underFilter := []string{built.Binproxy(b), "kernel", "run", "--as", "3.10", "--"}
	oneRule := []string{built.Binproxy(b), "kernel", "deny-child", "38", strconv.FormatUint(uint64(arch.Host().Audit()), 10), "9999"}
	commands := [][]string{
		{du, "-s", "/usr/share", "/usr/lib"},
		append(underFilter[:6:6], du, "-s", "/usr/share", "/usr/lib"),
		append(oneRule[:6:6], busy, busy, "300000"),
		append(underFilter[:6:6], busy, "300000"),
	}
	best := make([]time.Duration, len(commands))
	for b.Loop() {
		for i, argv := range commands {
			if spent := cpuTime(b, argv); best[i] == 0 || spent < best[i] {
				best[i] = spent
			}
		}
	}
	b.ReportMetric(float64(best[1])/float64(best[0]), "ratio")
	b.ReportMetric(float64(best[3])/float64(best[2]), "floor")
}

func cpuTime(b *testing.B, argv []string) time.Duration {
	b.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	require.NoError(b, cmd.Run())
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}
