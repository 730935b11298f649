package container

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/test/lib/built"
	"binproxy/test/lib/host"
)

// A container shows the release that it was made with to whoever enters, in every way of asking.
// Setuid programs keep their rights in an ordinary user's container, and have none in root's.
func TestRelease(t *testing.T) {
	both(t, func(t *testing.T, w who) {
		dir := w.smallRoot()
		setuid := dir + "/bin/who-am-i"
		built.Guest(t, "arm64", "./testdata/whoami", setuid)
		rootInThere := 0
		if w.home != "" {
			rootInThere = host.FirstSubordinate
		}
		require.NoError(t, os.Chown(setuid, rootInThere, rootInThere))
		require.NoError(t, os.Chmod(setuid, os.ModeSetuid|0o755))
		before := host.Mounts(t)
		truth, err := os.ReadFile("/proc/sys/kernel/osrelease")
		require.NoError(t, err)
		w.refuses("uname(2) holds 64", "container", "create", "--arch", "arm64", "--location", dir, "--release", strings.Repeat("4", 65))
		w.does("container", "create", "--arch", "arm64", "--location", dir, "--name", "old", "--route", "userns", "--release", "4.15.0-112-generic")
		inside := func(args ...string) string { return w.does(append([]string{"container", "enter", "old"}, args...)...) }
		const script = "uname -rm; cat /proc/sys/kernel/osrelease; sed 's/ (.*//' /proc/version; sh -c 'uname -r'; who-am-i"
		const all = "4.15.0-112-generic aarch64\n4.15.0-112-generic\nLinux version 4.15.0-112-generic\n4.15.0-112-generic\n0 4.15.0-112-generic\n"
		assert.Equal(t, all, inside("--", "sh", "-c", script))
		games := all
		if w.home == "" {
			games = strings.Replace(all, "\n0 ", "\n5 ", 1)
		}
		assert.Equal(t, games, inside("--user", "games", "--", "sh", "-c", script))
		w.refuses("tells an identity of its own", "container", "enter", "old", "--release", "5.4.0", "--", "uname", "-r")
		assert.Equal(t, -15, run(w.cmd("container", "enter", "old", "--", "sh", "-c", "kill $$")).status)
		assert.Equal(t, 127, run(w.cmd("container", "enter", "old", "--", "no-such-command")).status)
		w.does("container", "remove", "old")

		w.does("container", "create", "--arch", "arm64", "--location", dir, "--name", "new")
		assert.Equal(t, "4.9.0\n4.9.0\n", w.does("container", "enter", "new", "--release", "4.9.0", "--", "sh", "-c", "uname -r; cat /proc/sys/kernel/osrelease"))
		assert.Equal(t, string(truth)+string(truth), w.does("container", "enter", "new", "--", "sh", "-c", "uname -r; cat /proc/sys/kernel/osrelease"))
		w.does("container", "remove", "new")
		assert.Equal(t, before, host.Mounts(t))
		now, err := os.ReadFile("/proc/sys/kernel/osrelease")
		require.NoError(t, err)
		assert.Equal(t, truth, now)
	})
}
