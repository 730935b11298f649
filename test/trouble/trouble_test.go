// Package trouble causes those troubles of emulators that can be caused, and checks that
// `binproxy run` names them.
package trouble

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"binproxy/test/lib/built"
	"binproxy/test/lib/ended"
	"binproxy/test/lib/fixture"
	"binproxy/test/lib/need"
)

func TestTrouble(t *testing.T) {
	need.Emulator(t, "aarch64")
	need.Emulator(t, "arm")
	dir := t.TempDir()
	restrict := filepath.Join(dir, "restrict")
	out, err := exec.Command("go", "build", "-o", restrict, "binproxy/test/lib/restrict").CombinedOutput()
	require.NoError(t, err, "%s", out)
	programs := map[string]string{}
	for _, goarch := range []string{"arm64", "arm"} {
		programs[goarch] = filepath.Join(dir, goarch)
		built.Guest(t, goarch, "testdata/die.go", programs[goarch])
	}
	for _, c := range []struct {
		name, goarch, program, how string
		limit                      string   // in KiB, of the address space
		restrictions               []string // of all
		status                     int
		want                       string // in the only line of ours on stderr; "" for none
	}{
		{name: "heap", goarch: "arm64", program: "ldconfig", how: "segv", status: -11, want: "ldconfig died of a segmentation fault"},
		{name: "heap, with status 1", goarch: "arm64", program: "ldconfig", how: "1", status: 1},
		{name: "preemption", goarch: "arm64", program: "server", how: "segv", status: -11, want: "set GODEBUG=asyncpreemptoff=1"},
		{name: "Erlang", goarch: "arm64", program: "beam.smp", how: "segv", status: -11, want: `set ERL_FLAGS="+JPperf true"`},
		{name: "Erlang, with status 1", goarch: "arm64", program: "beam.smp", how: "1", status: 1},
		{name: "Go, with status 2", goarch: "arm64", program: "server", how: "2", status: 2},
		{name: "reserve", goarch: "arm", program: "hello", how: "0", limit: "2000000", status: 1, want: "ulimit -v unlimited"},
		{name: "limited, but enough", goarch: "arm", program: "hello", how: "1", limit: "100000000", status: 1},
		{name: "32-bit, with status 1", goarch: "arm", program: "hello", how: "1", status: 1},
		{name: "limited, 64-bit", goarch: "arm64", program: "hello", how: "1", limit: "8000000", status: 1},
		{name: "fchmodat2", goarch: "arm64", program: "tar", how: "2", restrictions: []string{"-deny", "fchmodat2"}, status: 2, want: "answers EPERM to fchmodat2"},
		{name: "fchmodat2, not known", goarch: "arm64", program: "tar", how: "2", restrictions: []string{"-deny", "fchmodat2", "-errno", "38"}, status: 2},
		{name: "fchmodat2, not tar", goarch: "arm64", program: "cat", how: "2", restrictions: []string{"-deny", "fchmodat2"}, status: 2},
		{name: "tar, with status 2", goarch: "arm64", program: "tar", how: "2", status: 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			program := filepath.Join(t.TempDir(), c.program)
			fixture.Link(t, programs[c.goarch], program)
			script := `ulimit -c 0; if [ -n "$1" ]; then ulimit -v "$1" || exit 99; fi; shift; exec "$@"`
			argv := append([]string{"-c", script, "sh", c.limit, restrict}, c.restrictions...)
			argv = append(argv, built.Binproxy(t), "run", "--", program, c.how)
			cmd := exec.Command("/bin/sh", argv...)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			_ = cmd.Run()
			assert.Equal(t, c.status, ended.Status(cmd.ProcessState), stderr.String())
			var ours []string
			for line := range strings.Lines(stderr.String()) {
				if strings.HasPrefix(line, "binproxy: ") {
					ours = append(ours, line)
				}
			}
			if c.want == "" {
				assert.Empty(t, ours)
				return
			}
			require.Len(t, ours, 1)
			assert.Contains(t, ours[0], c.want)
			assert.Contains(t, ours[0], program)
		})
	}
}

// TestLoader runs a dynamic program outside of a root of its architecture, and, in such a root,
// one that ends as QEMU does in that case.
func TestLoader(t *testing.T) {
	need.Emulator(t, "arm")
	gcc := need.Program(t, "arm-linux-gnueabihf-gcc", "gcc-arm-linux-gnueabihf")
	dir := t.TempDir()
	program := filepath.Join(dir, "bin", "hello")
	require.NoError(t, os.Mkdir(filepath.Dir(program), 0o755))
	source := filepath.Join(dir, "hello.c")
	require.NoError(t, os.WriteFile(source, []byte("int main(void) { return 255; }\n"), 0o644))
	out, err := exec.Command(gcc, "-o", program, source).CombinedOutput()
	require.NoError(t, err, "%s", out)
	said := func(options ...string) string {
		cmd := exec.Command(built.Binproxy(t), append(append([]string{"run"}, options...), "--", program)...)
		out, _ := cmd.CombinedOutput()
		assert.Equal(t, 255, cmd.ProcessState.ExitCode(), "%s", out)
		return string(out)
	}
	const loader = "/lib/ld-linux-armhf.so.3"
	if _, err := os.Stat(loader); err != nil {
		assert.Contains(t, said(), "binproxy: "+program+" seems to lack its loader, "+loader+", here: run it in a root of its architecture (--root DIR;")
	}
	assert.Empty(t, said("--env", "QEMU_LD_PREFIX=/usr/arm-linux-gnueabihf"), "it is the program's own status")
}

// In a root a loader is often an absolute link, as Debian's are. It leads within the root,
// whatever the host has there.
func TestLoaderByAbsoluteLink(t *testing.T) {
	need.Root(t)
	need.Emulator(t, "arm")
	program := compile(t, "arm-linux-gnueabihf-gcc", "int main(void) { return 255; }\n")
	const cross, loader = "/usr/arm-linux-gnueabihf/lib/", "/lib/ld-linux-armhf.so.3"
	root := t.TempDir()
	for _, dir := range []string{"lib", "opt", "bin"} {
		require.NoError(t, os.Mkdir(filepath.Join(root, dir), 0o755))
	}
	for from, to := range map[string]string{cross + "ld-linux-armhf.so.3": "/opt/ld.so", cross + "libc.so.6": "/lib/libc.so.6", program: "/bin/program"} {
		text, err := os.ReadFile(from)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(root+to, text, 0o755))
	}
	for _, c := range []struct {
		link string
		want bool // a line about it
	}{{"/opt/ld.so", false}, {"../opt/ld.so", false}, {"/bin/sh", true}, {"/opt/none", true}} {
		require.NoError(t, os.RemoveAll(root+loader))
		require.NoError(t, os.Symlink(c.link, root+loader))
		ours := lines(t, []string{"--root", root}, "/bin/program")
		if !c.want {
			assert.Empty(t, ours, c.link)
		} else if assert.Len(t, ours, 1, c.link) {
			assert.Contains(t, ours[0], "/bin/program seems to lack its loader, "+loader, c.link)
		}
	}
}

// The kernel does not find a native program whose loader is missing, and one line names that.
func TestNativeLoader(t *testing.T) {
	const loader = "/nowhere/ld.so"
	dir := t.TempDir()
	script := filepath.Join(dir, "script")
	require.NoError(t, os.WriteFile(script, []byte("#!/nowhere/sh\n"), 0o755))
	for _, flag := range []string{"-pie", "-no-pie"} {
		program := compile(t, "gcc", "int main(void) { return 0; }\n", flag, "-Wl,--dynamic-linker="+loader)
		for _, options := range [][]string{nil, {"--route", "supervise"}, {"--route", "kernel"}, {"--arch", "arm64"}} {
			ours := lines(t, options, program)
			if assert.Len(t, ours, 1, "%v", options) {
				assert.Contains(t, ours[0], program+": no such file or directory: its loader, "+loader+", is not here: run it in a root", "%v", options)
			}
		}
	}
	assert.Equal(t, []string{"binproxy: " + script + ": no such file or directory\n"}, lines(t, nil, script))
}

// compile compiles a program of one line with a cross compiler.
func compile(t *testing.T, compiler, line string, flags ...string) string {
	t.Helper()
	pkg := "gcc"
	if cross, ok := strings.CutSuffix(compiler, "-gcc"); ok {
		pkg = "gcc-" + cross
	}
	gcc := need.Program(t, compiler, pkg)
	dir := t.TempDir()
	source, program := filepath.Join(dir, "main.c"), filepath.Join(dir, "program")
	require.NoError(t, os.WriteFile(source, []byte(line), 0o644))
	out, err := exec.Command(gcc, append(flags, "-w", "-o", program, source)...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return program
}

// lines runs a program and gives the lines that binproxy prints.
func lines(t *testing.T, options []string, program ...string) (ours []string) {
	t.Helper()
	out, _ := exec.Command(built.Binproxy(t), slices.Concat([]string{"run"}, options, []string{"--"}, program)...).CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "binproxy: ") {
			ours = append(ours, line)
		}
	}
	return ours
}

// A program that looks for leaks at its end cannot do so, native or not, and one line says why. It
// says nothing where the sanitizer found a fault, or looks for none.
func TestLeaks(t *testing.T) {
	need.Emulator(t, "aarch64")
	const nothing, fault = "int main(void) { return 0; }\n", "int main(void) { char *p = malloc(9); free(p); return *p; }\n"
	const root = "QEMU_LD_PREFIX=/usr/aarch64-linux-gnu"
	for _, c := range []struct {
		name, compiler, line, kind string
		options                    []string
		want                       bool
	}{
		{"native", "gcc", nothing, "address", nil, true},
		{"alone", "gcc", nothing, "leak", nil, true},
		{"with a release", "gcc", nothing, "address", []string{"--release", "4.15.0"}, true},
		{"a fault", "gcc", fault, "address", nil, false},
		{"the remedy", "gcc", nothing, "address", []string{"--env", "ASAN_OPTIONS=detect_leaks=0"}, false},
		{"a guest", "aarch64-linux-gnu-gcc", nothing, "address", []string{"--env", root}, true},
		{"a guest, the remedy", "aarch64-linux-gnu-gcc", fault, "address", []string{"--env", root, "--env", "ASAN_OPTIONS=detect_leaks=0"}, false},
	} {
		program := compile(t, c.compiler, c.line, "-fsanitize="+c.kind)
		ours := lines(t, c.options, program)
		if !c.want {
			assert.Empty(t, ours, c.name)
		} else if assert.Len(t, ours, 1, c.name) {
			assert.Contains(t, ours[0], program+" may have ended since LeakSanitizer cannot trace it", c.name)
		}
	}
}

// A 32-bit guest that reads directories with offsets of 32 bits fails on ext4, on tmpfs it does
// not; one with those of 64 bits nowhere.
func TestReaddir(t *testing.T) {
	need.Emulator(t, "arm")
	const compiler, root = "arm-linux-gnueabihf-gcc", "QEMU_LD_PREFIX=/usr/arm-linux-gnueabihf"
	const read = `#include <dirent.h>
#include <errno.h>
int main(int argc, char **argv) { DIR *d = opendir(argv[1]); errno = 0; while (readdir(d)) {} return errno; }
`
	program := compile(t, compiler, read)
	var fs unix.Statfs_t
	require.NoError(t, unix.Statfs(program, &fs))
	need.Given(t, fs.Type == unix.EXT4_SUPER_MAGIC, "a directory for temporary files on ext4")
	for _, c := range []struct {
		program, dir string
		fails        bool
	}{
		{program, filepath.Dir(program), true},
		{program, "/dev/shm", false},
		{compile(t, compiler, read, "-D_FILE_OFFSET_BITS=64"), filepath.Dir(program), false},
	} {
		cmd := exec.Command(built.Binproxy(t), "run", "--env", root, "--", c.program, c.dir)
		out, _ := cmd.CombinedOutput()
		if !c.fails {
			assert.Zero(t, cmd.ProcessState.ExitCode())
			assert.Empty(t, out)
			continue
		}
		assert.Equal(t, int(unix.EOVERFLOW), cmd.ProcessState.ExitCode(), "%s", out)
		assert.Contains(t, string(out), c.program+" reads directories with offsets of 32 bits")
	}
}

// TestNoPipe makes a program end like one without its loader, while a pipe has the name that the
// kernel then has for it: nobody waits for a writer of that pipe.
func TestNoPipe(t *testing.T) {
	need.Emulator(t, "aarch64")
	binproxy := built.Binproxy(t)
	program := filepath.Join(t.TempDir(), "x")
	built.Guest(t, "arm64", "testdata/die.go", program)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binproxy, "run", "--", program, "trap")
	out, _ := cmd.CombinedOutput()
	require.NoError(t, ctx.Err(), "binproxy waits for the pipe")
	assert.Equal(t, 255, cmd.ProcessState.ExitCode(), "%s", out)
	assert.Empty(t, out)
	assert.FileExists(t, program+" (deleted)")
}

// However many programs end in the same way, there is one report.
func TestOnce(t *testing.T) {
	need.Emulator(t, "aarch64")
	program := filepath.Join(t.TempDir(), "server")
	built.Guest(t, "arm64", "testdata/die.go", program)
	cmd := exec.Command(built.Binproxy(t), "run", "--", "/bin/sh", "-c", `ulimit -c 0; "$1" segv; "$1" segv; exit 0`, "sh", program)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Equal(t, 1, strings.Count(string(out), "asyncpreemptoff"), "%s", out)
}
