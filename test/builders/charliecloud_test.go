package builders

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/test/lib/debs"
	"binproxy/test/lib/host"
	"binproxy/test/lib/lab"
	"binproxy/test/lib/need"
	"binproxy/test/lib/registry"
)

// charlies is the Dockerfile that ch-image builds.
const charlies = `FROM base
RUN uname -m && echo built >/made
RUN ["/bin/busybox", "uname", "-m"]
`

// Charliecloud's builder runs as an ordinary user, without a daemon and a runtime. Under `binproxy
// run` it builds as it does where the kernel runs the image's programs.
func TestCharliecloud(t *testing.T) {
	need.Root(t)
	need.Long(t)
	need.Program(t, "ch-image", "charliecloud-builders")
	need.Program(t, "ch-run", "charliecloud-runtime")
	busybox := filepath.Join(debs.UnpackedFor(t, lab.Suite, registry.Guest, "busybox-static"), "bin/busybox")
	said := map[bool]string{}
	for _, p := range []*lab.Place{lab.Reference(t, true, registry.Guest), lab.NewPlace(t, true)} {
		do := func(command ...string) string {
			cmd := p.Command(t.Context(), command...)
			cmd.Env = append(cmd.Env, "USER="+host.User, "LANG=C.UTF-8", "CH_IMAGE_STORAGE="+filepath.Join(p.Dir, "storage"))
			return lab.Do(t, cmd)
		}
		base := filepath.Join(p.Dir, "base")
		require.NoError(t, os.MkdirAll(filepath.Join(base, "bin"), 0o755))
		require.NoError(t, exec.Command("cp", busybox, base+"/bin/busybox").Run())
		require.NoError(t, os.Symlink("busybox", base+"/bin/sh"))
		require.NoError(t, os.WriteFile(filepath.Join(p.Dir, "Dockerfile"), []byte(charlies), 0o644))
		do("ch-image", "--no-cache", "import", base, "base")
		command := []string{"ch-image", "--no-cache", "build", "--file", "Dockerfile", "--tag", "made", "."}
		if !p.Registered() {
			command = slices.Concat(supervisor(t, p).Before, command)
		}
		said[p.Registered()] = do(command...)
		text, err := os.ReadFile(filepath.Join(p.Dir, "storage/img/made/made"))
		require.NoError(t, err)
		assert.Equal(t, "built\n", string(text))
	}
	assert.Equal(t, said[true], said[false])
	assert.Contains(t, said[false], "aarch64\n")
}
