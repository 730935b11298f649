// Package containers builds images of other architectures with the builders that people use, and compares what each line
// of their Dockerfiles says with what a native image says.
package containers

import (
	"testing"

	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
	"binproxy/test/lab"
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
