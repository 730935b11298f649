package lab

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
	"binproxy/test/lib/built"
	"binproxy/test/lib/need"
)

var layouts struct {
	sync.Mutex
	dir  string
	made map[string]string
}

// Frontend is an OCI layout with the image of the BuildKit frontend for this host: bundles for the
// guests (OCI's names), with a binproxy that calls itself this version, "" for its own. It is made
// as `make frontend` makes it, once for the package.
func Frontend(t testing.TB, version string, guests ...string) string {
	t.Helper()
	for _, guest := range guests {
		abi, err := arch.Parse("linux/" + guest)
		require.NoError(t, err)
		need.Emulator(t, abi.QEMU)
	}
	root, err := built.Root()
	require.NoError(t, err)
	download := exec.Command("go", "mod", "download")
	download.Dir = filepath.Join(root, "frontend")
	err = run(download)
	need.Installed(t, err == nil, "the Go modules of frontend/")

	layouts.Lock()
	defer layouts.Unlock()
	if layouts.dir == "" {
		layouts.dir, err = os.MkdirTemp("", "frontend-")
		require.NoError(t, err)
		layouts.made = map[string]string{}
		atEnd(func() { os.RemoveAll(layouts.dir) })
	}
	name := strings.Join(append(guests, version), "-")
	if layouts.made[name] == "" {
		dir := filepath.Join(layouts.dir, name)
		cmd := exec.Command("go", "run", "./scripts/frontend", "--hosts", arch.Host().GOARCH, "--guests", strings.Join(guests, ","), "-o", dir)
		cmd.Dir = root
		if version != "" {
			cmd.Env = append(os.Environ(), "VERSION="+version)
		}
		require.NoError(t, run(cmd))
		layouts.made[name] = dir
	}
	return layouts.made[name]
}
