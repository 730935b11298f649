// Package preload builds images through LD_PRELOAD alone: no farm, and a seccomp profile that refuses ptrace.
package preload

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
	"binproxy/shim/preload"
	"binproxy/test/built"
	"binproxy/test/lab"
	"binproxy/test/need"
)

func TestMain(m *testing.M) { lab.Main(m) }

// profile is what an engine may be told to refuse.
const profile = `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
	{"names": ["ptrace", "process_vm_readv", "process_vm_writev"], "action": "SCMP_ACT_ERRNO"}]}`

// On Linux `docker build` takes no --security-opt: the image is built with one that runs nothing, and the lines are run.
const dockerfile = `ARG BASE
FROM $BASE
ADD bundle refused script /binproxy/
ENTRYPOINT ["/binproxy/sh", "-ec"]
`

func TestPtraceRefused(t *testing.T) {
	root, err := built.Root()
	require.NoError(t, err)
	// For one of them auto is to take it.
	for abi, route := range map[*arch.ABI]string{arch.Get("aarch64"): "preload", arch.Get("armhf"): "auto"} {
		t.Run(abi.Debian, func(t *testing.T) {
			builder, engine := lab.Classic(t), lab.SharedEngine(t)
			context := t.TempDir()
			bundle := filepath.Join(context, "bundle")
			args := []string{"bundle", "--arch", abi.Name, "--emulator", need.Emulator(t, abi.QEMU), "--release", "4.15.0-112-generic", "-o", bundle}
			out, err := exec.Command(built.Binproxy(t), args...).CombinedOutput()
			require.NoError(t, err, "%s", out)
			layLibraries(t, root, bundle, abi)
			built.Guest(t, runtime.GOARCH, "testdata/refused.go", filepath.Join(context, "refused"))
			write(t, context, "script", "#!/bin/sh -e\n/bin/echo $0 $*\n")
			write(t, context, "profile", profile)
			image := lab.MustBuild(t, builder, lab.Build{Context: context, Dockerfile: dockerfile, Args: map[string]string{"BASE": builder.Base(t, abi.Debian)}}).Image
			for _, c := range []struct {
				line, want string
				status     int
			}{
				{"/binproxy/refused", "ptrace: operation not permitted\n", 0},
				{"/bin/date -u -d @0 +%F", "1970-01-01\n", 0},
				{"date -u -d @0 +%F | /usr/bin/sort", "1970-01-01\n", 0},
				{"/usr/bin/env -i /bin/sh -c '/bin/echo cleared; /usr/bin/env | /bin/grep -c LD_PRELOAD'", "cleared\n1\n", 0},
				{`/usr/bin/perl -MPOSIX -e '$| = 1; system("/bin/echo system"); print qx(/bin/echo read); exec "/binproxy/script", (uname)[2]'`,
					"system\nread\n/binproxy/script 4.15.0-112-generic\n", 0},
				{"cat /proc/sys/kernel/osrelease; cat < /proc/sys/kernel/version", "4.15.0-112-generic\n#1 SMP\n", 0},
				{"cd /tmp; /bin/cp /bin/echo mine; ./mine mine; PATH=.:$PATH mine found", "mine\nfound\n", 0},
				{"/etc/debian_version", "sh: 1: /etc/debian_version: Permission denied\n", 126},
				{"/bin/gone", "sh: 1: /bin/gone: not found\n", 127},
				{"exec /bin/sh -c 'exit 7'", "", 7},
				{"/bin/sh -c 'kill -9 $$'", "Killed\n", 137},
			} {
				cmd := engine.Command(t.Context(), "run", "--rm", "--platform", abi.Platform(), "--network", "none", "--env", "BINPROXY_ROUTE="+route,
					"--security-opt", "seccomp="+filepath.Join(context, "profile"), image, c.line)
				text, _ := cmd.CombinedOutput()
				said := strings.ReplaceAll(string(text), "/binproxy/sh: ", "sh: ")
				if route == "auto" {
					var warning string
					warning, said, _ = strings.Cut(said, "\n")
					assert.Contains(t, warning, "the route supervise is refused: ptrace(PTRACE_SEIZE): operation not permitted; going by preload")
				}
				assert.Equal(t, c.want, said, c.line)
				assert.Equal(t, c.status, cmd.ProcessState.ExitCode(), c.line)
			}
		})
	}
}

// layLibraries puts the libraries into the bundle, whether or not the program was built after `make preload`.
func layLibraries(t *testing.T, root, bundle string, abi *arch.ABI) {
	t.Helper()
	need.Program(t, abi.GNU+"-gcc", "gcc-"+abi.GNU)
	dir := t.TempDir()
	out, err := exec.Command(filepath.Join(root, "scripts", "preload-build"), dir, abi.Name, arch.Host().Name).CombinedOutput()
	require.NoError(t, err, "%s", out)
	files, err := preload.Tree(os.DirFS(dir), arch.Host(), []*arch.ABI{abi})
	require.NoError(t, err)
	require.NoError(t, preload.Write(bundle, files))
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755))
}
