package container

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/uml"
	"binproxy/test/lib/host"
	"binproxy/test/lib/need"
)

// lifeOfAContainer runs in the guest, which has its own /run: it makes, uses and removes a
// container, and checks that no mount of it is left.
const lifeOfAContainer = `set -e
cp -a /mnt/root /mnt/binproxy /run
mkdir -m 700 /run/home
id=$0
chown -hR $id:$id /run/root /run/home
mine() { setpriv --reuid $id --regid $id --clear-groups env HOME=/run/home XDG_RUNTIME_DIR=/run/home /run/binproxy container "$@"; }
cat /proc/self/mountinfo >/run/before
mine create --arch arm64 --location /run/root --name old
mine enter old -- sh -c 'uname -m; exec sh -c "exec uname -r"'
mine enter --release 4.9.0 old -- sh -c 'uname -r; cat /proc/sys/kernel/osrelease'
mine enter old -- sh -c 'exit 7' || echo status $?
mine remove old
cmp /run/before /proc/self/mountinfo
`

// Before Linux 6.7 no namespace has its own binfmt_misc, and a supervisor takes its place.
// Debian's User Mode Linux is such a kernel.
func TestOldKernel(t *testing.T) {
	kernel := need.Program(t, "linux.uml", "user-mode-linux")
	k, err := uml.Open(kernel)
	need.Given(t, err == nil && strings.HasPrefix(k.Release, "6.1."), "a User Mode Linux of Linux 6.1")
	need.Given(t, k.RunsHere() == nil, fmt.Sprintf("a CPU that an old kernel runs on: %v", k.RunsHere()))
	for _, test := range []struct {
		name string
		args []string // of uml run
		says string
	}{
		{"no binfmt_misc", nil, "this kernel has no binfmt_misc, or its module is not loaded"},
		{"binfmt_misc of the machine's", []string{"--arch", "armhf"}, "this kernel has no binfmt_misc for a user namespace of its own (Linux 6.7 and later have)"},
	} {
		for _, id := range []string{"0", strconv.Itoa(host.UserID)} {
			t.Run(test.name+"/"+id, func(t *testing.T) {
				w := root(t)
				dir := filepath.Dir(w.smallRoot())
				require.NoError(t, exec.Command("cp", binproxy(t), dir+"/binproxy").Run())
				args := append([]string{"uml", "run", "--kernel", kernel, "--mem", "256M", "--timeout", "3m", "--bind", dir + ":/mnt:ro"}, test.args...)
				r := run(w.cmd(append(args, "--", "sh", "-c", lifeOfAContainer, id)...))
				assert.Zero(t, r.status, r)
				assert.Contains(t, r.err, test.says)
				assert.Equal(t, "container old: aarch64 at /run/root, route supervise; binproxy container enter old\naarch64\n"+k.Release+"\n4.9.0\n4.9.0\nstatus 7\n", r.out)
			})
		}
	}
}
