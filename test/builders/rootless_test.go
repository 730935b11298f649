package builders

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
	"binproxy/emu/elfinfo/tiny"
	"binproxy/test/lib/lab"
	"binproxy/test/lib/modules"
	"binproxy/test/lib/need"
	"binproxy/test/lib/registry"
)

// An ordinary user's builder makes a user namespace, which it could not do under a supervisor.
// `binproxy run -- BUILDER` first enters a namespace like it. There the builder's commands see
// themselves, the user's files and a guest's program as they do where the kernel runs that
// program.
func TestRootlessBuilders(t *testing.T) {
	need.Root(t)
	abi, err := arch.Parse(registry.Guest)
	require.NoError(t, err)
	const shows = `id -u; id -g; stat -c %u:%g . place.sh; touch made; chown 7:8 made; stat -c %u:%g made; ./guest; echo $?`
	for _, tt := range []struct {
		builder string
		command func(t *testing.T, p *lab.Place) []string
		more    string // a further thing that has to be the same
	}{
		{"buildah", func(t *testing.T, _ *lab.Place) []string {
			return []string{need.Program(t, "buildah", "buildah"), "unshare"}
		}, "cat /proc/self/uid_map"},
		{"podman", func(t *testing.T, _ *lab.Place) []string {
			return []string{need.Program(t, "podman", "podman"), "unshare"}
		}, "cat /proc/self/uid_map"},
		{"rootlesskit", func(t *testing.T, p *lab.Place) []string {
			need.Long(t) // it is built from its module
			return []string{filepath.Join(lab.Executable(t, p, modules.RootlessKit), "rootlesskit"), "--net=host"}
		}, "true"},
	} {
		t.Run(tt.builder, func(t *testing.T) {
			said := map[string]string{}
			for _, p := range []*lab.Place{lab.Reference(t, true, registry.Guest), lab.NewPlace(t, true)} {
				require.NoError(t, os.WriteFile(filepath.Join(p.Dir, "guest"), tiny.Program(abi), 0o755))
				command := append(tt.command(t, p), "sh", "-c", shows+"; "+tt.more)
				if !p.Registered() {
					command = slices.Concat(supervisor(t, p).Before, command)
				}
				said[map[bool]string{true: "reference", false: "run"}[p.Registered()]] = lab.Do(t, p.Command(t.Context(), command...))
			}
			assert.Equal(t, said["reference"], said["run"])
			assert.Contains(t, said["run"], "\n42\n")
		})
	}
}
