package execs

import (
	"testing"

	"github.com/stretchr/testify/require"

	"binproxy/test/lib/need"
)

// In a new PID namespace whose /proc is the outer one, numbers of processes mean others there.
func TestOuterProc(t *testing.T) {
	need.Root(t)
	unshare := need.Program(t, "unshare", "util-linux")
	b := newBench(t, kinds[0])
	for _, argv := range [][]string{
		{"@/probe", "x"},
		{"@/native", "exec", "@/script", "x"},
		{"@/native", "exec", "/proc/self/cwd/probe", "x"},
		{"@/native", "spawn", "@/probe", "x"},
		{"@/probe", "user", "@/unreadable", "x"},
	} {
		differs := []string{"execfn"}
		want := b.kernel(t, nil, append([]string{unshare, "--pid", "--fork"}, argv...)...)
		require.Zero(t, want.Status, want)
		for _, run := range [][]string{{"run", "--"}, {"run", "--keep-pid", "--"}} {
			words := append([]string{unshare, "--pid", "--fork", b.binproxy}, run...)
			got := runIn(t, b.dir, b.env(), nil, append(words, b.expand(argv)...)...)
			require.Equal(t, want.without(differs), got.without(differs), "%s %s", run, argv)
		}
	}
	refused := []string{unshare, "--pid", "--fork", need.Program(t, "setpriv", "util-linux"), "--bounding-set", "-sys_admin", b.binproxy, "run"}
	const why = "/proc is of another PID namespace (unshare has --mount-proc)"
	got := runIn(t, b.dir, b.env(), nil, append(refused, "--route", "supervise", "--", b.dir+"/probe")...)
	require.Equal(t, 125, got.Status)
	require.Contains(t, got.Output[0], why)

	// Where the route is not asked for, the line says how far the others go.
	got = runIn(t, b.dir, b.env(), nil, append(refused, "--", b.dir+"/probe", "x")...)
	require.Zero(t, got.Status, "the command itself reaches the emulator: %q", got.Output)
	require.Contains(t, got.Output[0], why)
	require.Contains(t, got.Output[0], "no farm is installed here either")
	require.Contains(t, got.Output[0], "`binproxy install`")
}
