package runtime

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"binproxy/test/lib/need"
)

// running makes a container whose command waits.
func running(t *testing.T, link, root string, r real) bundleDir {
	t.Helper()
	// We adopt what runc leaves, as an engine's shim does; otherwise it is unknown who would.
	require.NoError(t, unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
	b := newBundle(t, link, root, r, func(c config) { c.args("sleep", "1000") })
	cmd := b.command("run", "--detach", b.id)
	require.NoError(t, cmd.Run())
	t.Cleanup(func() {
		_, _, _ = b.do("kill", b.id, "KILL")
		for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			reap()
			if out, _, _ := b.do("state", b.id); strings.Contains(out, "stopped") {
				break
			}
		}
		out, diagnostics, status := b.do("delete", b.id)
		require.Zero(t, status, out+diagnostics)
	})
	return b
}

// reap reaps the orphans that have ended. No command of ours runs meanwhile.
func reap() {
	for {
		if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); pid <= 0 || err != nil {
			return
		}
	}
}

// A process that joins a container is routed as the container's own command is, and leaves no
// process in it.
func TestExec(t *testing.T) {
	need.Root(t)
	link, dir := runtimeLink(t), root(t)
	for i, r := range reals(t) {
		t.Run(r.name, func(t *testing.T) {
			if i > 0 {
				need.Long(t)
			}
			b := running(t, link, dir, r)
			out, diagnostics, status := b.do("exec", "--env", "A=b", "--cwd", "/usr", b.id, "sh", "-c", `echo $A $PWD; uname -mr; /bin/true && exit 7`)
			assert.Equal(t, "b /usr\n"+release+" aarch64\n", out, diagnostics)
			assert.Equal(t, 7, status)

			text, err := json.Marshal(config{"args": []string{"/bin/sh", "-c", "id -u; uname -m; exit 9"}, "env": []string{"PATH=/bin"},
				"cwd": "/", "user": config{"uid": 5, "gid": 5}})
			require.NoError(t, err)
			file := b.dir + "/process.json"
			require.NoError(t, os.WriteFile(file, text, 0o600))
			out, diagnostics, status = b.do("exec", "--process", file, b.id)
			assert.Equal(t, "5\naarch64\n", out, diagnostics)
			assert.Equal(t, 9, status)
			kept, err := os.ReadFile(file)
			require.NoError(t, err)
			assert.Equal(t, string(text), string(kept))

			_, diagnostics, status = b.do("exec", b.id, "nonexistent")
			assert.NotZero(t, status)
			assert.Contains(t, diagnostics, "nonexistent")

			// The living supervisors are the container's own and this one's. An ended one may
			// still wait for the machine's first process.
			var names []string
			for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
				reap()
				out, diagnostics, _ = b.do("exec", b.id, "sh", "-c", `for p in /proc/[0-9]*; do cat $p/stat; done`)
				names = living(out)
				if len(names) == 4 {
					break
				}
			}
			assert.Equal(t, []string{"binproxy", "binproxy", "sh", "sleep"}, names, "%s%s", out, diagnostics)
		})
	}
}

// living are the names of the processes in the lines of /proc/PID/stat, without zombies and the
// program that read them.
func living(stats string) []string {
	var names []string
	for line := range strings.Lines(stats) {
		if _, rest, _ := strings.Cut(line, " ("); rest != "" {
			name, rest, _ := strings.Cut(rest, ") ")
			if name != "cat" && !strings.HasPrefix(rest, "Z") {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names
}
