package container

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
	"binproxy/test/lib/built"
	"binproxy/test/lib/host"
)

// In root's container on the route userns, root is root of the host: no set-user-ID program makes
// anybody that, and its emulator does not write where he says. In an ordinary user's, it gives
// what the root of a namespace has.
func TestSetUserID(t *testing.T) {
	both(t, func(t *testing.T, w who) {
		dir, shared := w.smallRoot(), w.dir()
		program := dir + "/bin/whoami"
		built.Guest(t, "arm64", "./testdata/whoami", program)
		owner, gains := 0, "5 "
		if w.home != "" {
			owner, gains = host.FirstSubordinate, "0 "
		}
		require.NoError(t, os.Chown(program, owner, owner))
		require.NoError(t, os.Chmod(program, 0o4755|os.ModeSetuid))
		secret := shared + "/secret"
		require.NoError(t, os.WriteFile(secret, []byte("as it was"), 0o600))
		require.NoError(t, os.Chown(secret, owner, owner))
		w.does("container", "create", "--arch", "arm64", "--location", dir, "--route", "userns", "--bind", shared+":/mnt")
		defer w.does("container", "remove", "aarch64")
		says := w.does("container", "enter", "aarch64", "--user", "games", "--", "/bin/whoami")
		assert.True(t, strings.HasPrefix(says, gains), says)
		if w.home == "" {
			run(w.cmd("container", "enter", "aarch64", "--user", "games", "--", "sh", "-c", "QEMU_LOG=strace QEMU_LOG_FILENAME=/mnt/secret /bin/whoami"))
			text, err := os.ReadFile(secret)
			require.NoError(t, err)
			assert.Equal(t, "as it was", string(text))
		}
	})
}

// A program of the host's own architecture has no emulator, but set-user-ID bits, too.
func TestSetUserIDNative(t *testing.T) {
	w := root(t)
	dir := w.smallRoot()
	built.Guest(t, arch.Host().GOARCH, "./testdata/whoami", dir+"/bin/whoami")
	require.NoError(t, os.Chmod(dir+"/bin/whoami", 0o755|os.ModeSetuid))
	w.does("container", "create", "--arch", "arm64", "--location", dir, "--route", "userns")
	defer w.does("container", "remove", "aarch64")
	says := w.does("container", "enter", "aarch64", "--user", "games", "--", "/bin/whoami")
	assert.True(t, strings.HasPrefix(says, "5 "), says)
}
