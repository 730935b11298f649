// Package twins runs guests' programs with and without twins, and compares the results.
package twins

import (
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"binproxy/test/lib/built"
	"binproxy/test/lib/lab"
)

func TestMain(m *testing.M) { lab.Main(m) }

// guest has Debian's, QEMU's and GNU's names of an architecture.
type guest struct{ port, qemu, compiler string }

var guests = []guest{
	{"arm64", "aarch64", "aarch64-linux-gnu"},
	{"armhf", "arm", "arm-linux-gnueabihf"},
}

// others are verified if BINPROXY_TEST_EVERYTHING is set, with the g++ of each: making a root of
// each takes minutes.
var others = []guest{
	{"s390x", "s390x", "s390x-linux-gnu"},
	{"ppc64el", "ppc64le", "powerpc64le-linux-gnu"},
	{"mips64el", "mips64el", "mips64el-linux-gnuabi64"},
}

// environment is the environment of a Debian image.
var environment = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "DEBIAN_FRONTEND=noninteractive"}

// run runs a command in a root and gives its output, both streams together, and its exit status.
func run(t *testing.T, args ...string) (string, int) {
	t.Helper()
	cmd := exec.Command(built.Binproxy(t), append([]string{"run", "--route", "supervise"}, args...)...)
	cmd.Env = environment
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		require.NoError(t, err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}
