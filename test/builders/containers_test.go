// Package builders builds images of other architectures with the builders that people use, and
// compares the output of each line of their Dockerfiles with that of a native image.
package builders

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
	"binproxy/test/lib/built"
	"binproxy/test/lib/lab"
	"binproxy/test/lib/need"
)

// guests are Debian's names of the architectures that are built for.
var guests = []string{"arm64", "armhf"}

func TestMain(m *testing.M) { lab.Main(m) }

func platform(t *testing.T, port string) string {
	t.Helper()
	abi, err := arch.Parse(port)
	require.NoError(t, err)
	return abi.Platform()
}

// makeBundle makes the directory that the Dockerfiles add.
func makeBundle(t *testing.T, dir string, archs ...string) {
	t.Helper()
	for _, port := range archs {
		abi, err := arch.Parse(port)
		require.NoError(t, err)
		need.Emulator(t, abi.QEMU)
	}
	cmd := exec.Command(built.Binproxy(t), "bundle", "--arch", strings.Join(archs, ","), "--release", release, "-o", dir)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
}
