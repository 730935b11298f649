package container

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
	"binproxy/emu/binfmt"
	"binproxy/emu/elfinfo"
	"binproxy/emu/elfinfo/tiny"
	"binproxy/test/lib/debs"
	"binproxy/test/lib/lab"
	"binproxy/test/lib/need"
)

// crossPackages are Debian's C libraries of other architectures, all from the same mirror: their
// loader is a program that runs by itself.
var crossPackages = map[string]string{
	"aarch64": "libc6-arm64-cross", "alpha": "libc6.1-alpha-cross", "armhf": "libc6-armhf-cross", "armel": "libc6-armel-cross", "hppa": "libc6-hppa-cross",
	"m68k": "libc6-m68k-cross", "mips": "libc6-mips-cross", "mipsel": "libc6-mipsel-cross", "mips64": "libc6-mips64-cross", "mips64el": "libc6-mips64el-cross",
	"mipsn32": "libc6-mipsn32-cross", "mipsn32el": "libc6-mipsn32el-cross", "ppc": "libc6-powerpc-cross", "ppc64": "libc6-ppc64-cross",
	"ppc64le": "libc6-ppc64el-cross", "riscv64": "libc6-riscv64-cross", "s390x": "libc6-s390x-cross", "sh4": "libc6-sh4-cross", "sparc64": "libc6-sparc64-cross",
}

// The kernel takes entries as conf prints them. They recognise Debian's programs of their
// architecture, and not those of others.
func TestEntriesRecogniseDebiansPrograms(t *testing.T) {
	need.Long(t) // it fetches a C library for each of nineteen ABIs
	w := root(t)
	registry := binfmt.Registry{Dir: binfmt.Dir}
	programs := map[string]string{}
	for name, pkg := range crossPackages {
		programs[name] = loader(t, name, debs.Unpacked(t, lab.Suite, pkg))
	}
	assert.GreaterOrEqual(t, len(programs), 12)
	for name := range programs {
		abi := arch.Get(name)
		line := strings.TrimSuffix(w.does("binfmt", "conf", name), "\n")
		require.NoError(t, os.WriteFile(binfmt.Dir+"/register", []byte(line), 0), line)
		for other, program := range programs {
			cmd := exec.Command(program, "--version")
			err := cmd.Run()
			if arch.Get(other).QEMU == abi.QEMU {
				// QEMU 7.2 sometimes loses an sh4 loader to a segmentation fault; the kernel has
				// still recognised it.
				assert.NotNil(t, cmd.ProcessState, "%s with the entry of %s: %v", program, name, err)
			} else {
				assert.ErrorIs(t, err, syscall.ENOEXEC, "%s with the entry of %s", program, name)
			}
		}
		require.NoError(t, registry.Unregister(binfmt.Name(abi)))
	}
}

// loader finds the ABI's program in the package.
func loader(t *testing.T, abi, dir string) string {
	t.Helper()
	var found string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || !strings.HasPrefix(d.Name(), "ld") {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		if info, err := elfinfo.Read(f); err == nil && info.ABI() == arch.Get(abi) {
			found = path
		}
		return nil
	})
	require.NoError(t, err)
	require.NotEmpty(t, found, "no loader for %s in %s", abi, dir)
	return found
}

func TestRegister(t *testing.T) {
	w := root(t)
	registry := binfmt.Registry{Dir: binfmt.Dir}
	assert.Equal(t, "qemu-aarch64: /usr/bin/qemu-aarch64-static, flags PF\n", w.does("binfmt", "register", "linux/arm64"))
	w.refuses("there is one, and it stays", "binfmt", "register", "--credentials", "aarch64")
	e, err := registry.Get("qemu-aarch64")
	require.NoError(t, err)
	assert.Equal(t, "PF", e.Flags)

	r := run(w.cmd("binfmt", "register", "--credentials", "--fix=false", "--preserve-argv0=false", "s390x"))
	assert.Zero(t, r.status, r)
	assert.Contains(t, r.err, "whoever can make it misbehave is root")
	e, err = registry.Get("qemu-s390x")
	require.NoError(t, err)
	assert.Equal(t, "OC", e.Flags)

	assert.Contains(t, w.does("binfmt", "show", "arm64"), "takes        aarch64\n")
	assert.Contains(t, w.does("binfmt", "list"), "qemu-s390x(OC)")
	w.does("binfmt", "unregister", "qemu-s390x")
	_, err = registry.Get("qemu-s390x")
	assert.ErrorIs(t, err, fs.ErrNotExist)
	_, err = registry.Get("qemu-aarch64")
	assert.NoError(t, err, "one that was not named")
	w.does("binfmt", "unregister", "qemu-aarch64")
	w.refuses("no such file", "binfmt", "unregister", "qemu-aarch64")
	w.refuses("name the entries", "binfmt", "unregister")
	w.refuses("runs x86_64 programs itself", "binfmt", "register", "amd64")
}

// WSL's entry stays, even when it is named.
func TestWSLInteropStays(t *testing.T) {
	w := root(t)
	registry := binfmt.Registry{Dir: binfmt.Dir}
	require.NoError(t, registry.Register(binfmt.Entry{Name: "WSLInterop", Magic: []byte("MZ"), Interpreter: "/init", Flags: "P"}))
	w.refuses("it stays", "binfmt", "unregister", "WSLInterop")
	_, err := registry.Get("WSLInterop")
	assert.NoError(t, err)
	require.NoError(t, registry.Unregister("WSLInterop"))
}

// status runs a program through entries that others made, and reports their limits.
func TestStatus(t *testing.T) {
	w := root(t)
	registry := binfmt.Registry{Dir: binfmt.Dir}
	assert.Contains(t, w.does("binfmt", "status"), "no entry takes programs")
	entry := binfmt.ForABI(arch.Get("riscv64"), "/usr/bin/qemu-riscv64-static", "OC")
	entry.Name, entry.Mask = "theirs", append([]byte{}, entry.Mask...)
	entry.Mask[6] = 0
	require.NoError(t, registry.Register(entry))
	out := w.does("binfmt", "status")
	assert.Contains(t, out, "riscv64: runs\n  entry theirs(OC): /usr/bin/qemu-riscv64-static, qemu-riscv64 version ")
	assert.Contains(t, out, "flag C: the emulator runs with the rights of setuid programs")
	assert.Contains(t, out, "no flag F: in a chroot")
	assert.Contains(t, out, "no flag P")

	entry.Name, entry.Interpreter, entry.Flags = "broken", "/nowhere/qemu", "P"
	require.NoError(t, registry.Register(entry))
	r := run(w.cmd("binfmt", "status", "riscv64"))
	assert.Equal(t, 1, r.status, r)
	assert.Contains(t, r.out, "riscv64: does not run: its binfmt_misc has an entry for them, but the emulator is not there")
	assert.Contains(t, r.out, "2 entries take these programs")

	// docs/json.md
	type object = map[string]any
	theirs := object{"name": "theirs", "enabled": true, "interpreter": "/usr/bin/qemu-riscv64-static", "flags": "OC", "offset": 0.0,
		"magic": fmt.Sprintf("%x", entry.Magic), "mask": fmt.Sprintf("%x", entry.Mask), "takes": []any{"riscv64"}}
	assert.Equal(t, object{"entries": []any{theirs}}, parsed(t, w.does("binfmt", "show", "--json", "theirs")))
	r = run(w.cmd("binfmt", "status", "--json", "riscv64"))
	assert.Equal(t, 1, r.status, r)
	verdict := parsed(t, r.out)["architectures"].([]any)[0].(object)
	assert.Equal(t, "riscv64", verdict["arch"])
	assert.Equal(t, false, verdict["runs"])
	assert.Contains(t, verdict["why"], "the emulator is not there")
	for _, e := range verdict["entries"].([]any) {
		assert.Equal(t, []any{"riscv64"}, e.(object)["takes"])
		assert.NotEmpty(t, e.(object)["limits"])
	}
	assert.Len(t, verdict["entries"], 2)
	require.NoError(t, registry.Unregister("broken"))
	require.NoError(t, registry.Unregister("theirs"))
}

// parsed is an object that --json printed.
func parsed(t *testing.T, text string) (object map[string]any) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(text), &object), text)
	return object
}

// A program of another architecture runs in a user namespace. Afterwards the host's entries are
// the same, and without the namespace the program does not run.
func TestUserns(t *testing.T) {
	for name, w := range map[string]who{"root": root(t), "user": user(t)} {
		t.Run(name, func(t *testing.T) {
			w.t = t
			program := filepath.Join(w.dir(), "tiny")
			require.NoError(t, os.WriteFile(program, tiny.Program(arch.Get("s390x")), 0o755))
			require.NoError(t, os.Chmod(filepath.Dir(program), 0o777))
			before, err := binfmt.Registry{Dir: binfmt.Dir}.List()
			require.NoError(t, err)
			r := run(w.cmd("binfmt", "--userns", "--", program))
			assert.Equal(t, tiny.Status, r.status, r)
			r = run(w.cmd("binfmt", "--userns", "--arch", "arm64", "--", "sh", "-c", program))
			assert.Equal(t, 126, r.status, "%s: no entry for it", r)
			after, err := binfmt.Registry{Dir: binfmt.Dir}.List()
			require.NoError(t, err)
			assert.Equal(t, before, after)
			err = exec.Command(program).Run()
			assert.True(t, errors.Is(err, syscall.ENOEXEC), "%v", err)

			id := strings.TrimSpace(w.does("binfmt", "--userns", "--arch", "arm64", "--", "id", "-u"))
			want := map[string]string{"root": "0", "user": "65534"}[name]
			assert.Equal(t, want, id, "the caller stays who he is")
			out := w.does("binfmt", "--userns", "--root", "--arch", "arm64", "--", "sh", "-c", "id -u; touch f && chown 33:33 f && stat -c %u f; rm f")
			assert.Equal(t, "0\n33\n", strings.TrimPrefix(out, ""), "root of the namespace, with other ids")
			missing := w.cmd("binfmt", "--userns", "--arch", "arm64", "--", "no-such-command")
			// with directories that the caller may search: else execvp(3) answers EACCES
			missing.Env = append(missing.Env, "PATH=/usr/bin:/bin")
			assert.Equal(t, 127, run(missing).status)
			assert.Equal(t, -9, run(w.cmd("binfmt", "--userns", "--arch", "arm64", "--", "sh", "-c", "kill -9 $$")).status)
		})
	}
}
