package container

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// disk and tty are two groups of the host that an image would like to be in: the one has the
// host's disks, the other its terminals.
const disk, tty = 6, 5

// What the image says of groups is nothing to the host, whose ids root's containers have: the
// caller has the groups that he has outside, and a user of the image's none that the host has for
// others.
func TestImageGrantsNoGroups(t *testing.T) {
	w := root(t)
	dir := w.smallRoot()
	passwd := fmt.Sprintf("root:x:0:%[1]d::/:/bin/sh\nnobody:x:65534:%[1]d::/:/bin/sh\ngames:x:5:60::/:/bin/sh\nmallory:x:4321:%[1]d::/:/bin/sh\neve:x:0:0::/:/bin/sh\n", disk)
	require.NoError(t, os.WriteFile(dir+"/etc/passwd", []byte(passwd), 0o644))
	group := fmt.Sprintf("disk:x:%d:root,nobody,games,mallory\ntty:x:%d:root,nobody,games,mallory\nown:x:7654321:nobody,games,mallory\n", disk, tty)
	require.NoError(t, os.WriteFile(dir+"/etc/group", []byte(group), 0o644))
	for _, route := range []string{"userns", "supervise"} {
		w.does("container", "create", "--arch", "arm64", "--location", dir, "--route", route)
		groups := func(env []string, args ...string) string {
			cmd := w.cmd(append(append([]string{"container", "enter", "aarch64"}, args...), "--", "id", "-G")...)
			cmd.Env = append(cmd.Env, env...)
			r := run(cmd)
			require.Zero(t, r.status, r)
			return strings.TrimSpace(r.out)
		}
		outside := func(user string) string {
			out, err := exec.Command("id", "-G", user).Output()
			require.NoError(t, err)
			return strings.TrimSpace(string(out))
		}
		assert.Equal(t, outside("root"), groups(nil), route)
		assert.Equal(t, outside("nobody"), groups([]string{"SUDO_UID=65534", "SUDO_GID=65534"}), route)
		assert.Equal(t, "54321", groups([]string{"SUDO_UID=54321", "SUDO_GID=54321"}), "nobody whom the host knows")
		assert.Equal(t, "60 7654321", groups(nil, "--user", "games"), "the host says so, or nothing")
		assert.Equal(t, "65534 7654321", groups(nil, "--user", "mallory"), "no group instead of the first")
		assert.Equal(t, "65534", groups(nil, "--user", fmt.Sprint(disk)), "a number that nobody has")
		w.refuses("user eve of the container's /etc/passwd is root", "container", "enter", "aarch64", "--user", "eve")
		w.does("container", "remove", "aarch64")
	}
}
