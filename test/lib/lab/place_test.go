package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
	"binproxy/emu/elfinfo/tiny"
	"binproxy/test/lib/host"
)

// The kernel runs a guest's program in a place of reference, and in no other, for either user.
// Mounts in a place do not show outside.
func TestPlace(t *testing.T) {
	abi, err := arch.Parse("arm64")
	require.NoError(t, err)
	guest := tiny.Program(abi)
	for _, user := range []bool{false, true} {
		for _, tt := range []struct {
			place *Place
			want  string
		}{
			{NewPlace(t, user), "126"},
			{Reference(t, user, "arm64"), fmt.Sprint(tiny.Status)},
		} {
			require.NoError(t, os.WriteFile(filepath.Join(tt.place.Dir, "guest"), guest, 0o755))
			said, err := output(tt.place.Command(t.Context(), "sh", "-c", `./guest; echo $? $(id -u) $(cat /proc/1/comm)`))
			require.NoError(t, err)
			mounts, err := output(tt.place.Command(t.Context(), "cat", "/proc/self/mounts"))
			require.NoError(t, err)
			assert.Contains(t, mounts, tt.place.Dir, "the place has mounts of its own")
			assert.NotContains(t, mountsOf(t), tt.place.Dir)
			id := map[bool]int{true: host.UserID}[user]
			assert.Equal(t, fmt.Sprintf("%s %d sh\n", tt.want, id), said)
		}
	}
}

func mountsOf(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mounts")
	require.NoError(t, err)
	return string(text)
}
