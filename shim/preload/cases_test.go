package preload_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
	"binproxy/emu/config"
	"binproxy/emu/emulator"
	"binproxy/emu/identity"
	"binproxy/emu/resolve"
	"binproxy/shim/farm"
	"binproxy/shim/preload"
	"binproxy/shim/proxy"
)

// One set of cases tests the two implementations that must agree: emu/resolve, as shim/proxy uses
// it, and the exec hook in C.
func TestCases(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	bundle := newBundle(t, filepath.Join(dir, "b"), config.Config{
		Identity: identity.Identity{Release: "4.4.0"},
		Emulators: []emulator.Emulator{
			{QEMU: "aarch64", Path: "qemu-aarch64"},
			{QEMU: "arm", Path: "qemu-arm", Loader: "lib/ld.so"},
		},
		Farms: []string{dir + "/other"},
	})
	text, err := os.ReadFile("testdata/cases.tsv")
	require.NoError(t, err)
	driver := compile(t, "gcc", "driver.c")
	// The program's working directory is the test's, so relative paths mean the same to both.
	t.Chdir(dir)
	for line := range strings.Lines(string(text)) {
		line = strings.ReplaceAll(expand(strings.TrimRight(line, "\n"), dir), "{entry}", entry(bundle, preload.ExecHook))
		if line == "" || line[0] == '#' {
			continue
		}
		words := strings.Split(line, "\t")
		if words[0] != "case" {
			makeFile(t, words[0], words[1], words[2], bundle.Self())
			continue
		}
		path, argv, want := words[1], strings.Fields(words[2]), words[3]
		if !strings.HasPrefix(want, "errno") {
			want = "argv " + want
		}
		assert.Equal(t, want, byHook(t, bundle, driver, path, argv), "C: %q", path)
		assert.Equal(t, want, byResolve(t, bundle, path, argv), "Go: %q", path)
	}
	t.Run("lengths", func(t *testing.T) { testLengths(t, bundle, driver) })
}

// testLengths tests `#!` lines that end near the point where the kernel stops reading.
func testLengths(t *testing.T, bundle config.Config, driver string) {
	const i = "bin/arm"
	upTo := func(n int, line string) string { return line + strings.Repeat("x", n-len(line)) }
	for n := 252; n <= 258; n++ {
		blanks := strings.Repeat(" ", n-2-len(i))
		for _, text := range []string{
			upTo(n, "#!"+i+" ") + "\n", upTo(n, "#!"+i+" "), upTo(n, "#!"+i) + "\n", upTo(n, "#!"+i), upTo(n, "#!"+i) + " x\n",
			"#!" + i + blanks + "\n", "#!" + i + blanks, "#!" + blanks + i + "\n", "#!" + blanks + i, "#!" + i + blanks + "x",
		} {
			require.NoError(t, os.WriteFile("line", []byte(text), 0o755))
			assert.Equal(t, byResolve(t, bundle, "line", []string{"zero"}), byHook(t, bundle, driver, "line", []string{"zero"}), "%q", text)
		}
	}
}

var repeat = regexp.MustCompile(`%(\d+)(.)`)

// expand replaces @ by the directory, and %Nc by N times the character c.
func expand(line, dir string) string {
	line = repeat.ReplaceAllStringFunc(line, func(s string) string {
		m := repeat.FindStringSubmatch(s)
		n, _ := strconv.Atoi(m[1])
		return strings.Repeat(m[2], n)
	})
	return strings.ReplaceAll(line, "@", dir)
}

func makeFile(t *testing.T, kind, name, content, self string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
	mode := os.FileMode(0o755)
	switch kind {
	case "fifo":
		require.NoError(t, syscall.Mkfifo(name, 0o777))
		require.NoError(t, os.Chmod(name, 0o777))
		return
	case "link":
		require.NoError(t, os.Symlink(content, name))
		return
	case "plain":
		mode = 0o644
	}
	var data []byte
	switch abi := arch.Get(content); {
	case content == "host":
		var err error
		data, err = os.ReadFile(self)
		require.NoError(t, err)
	case abi != nil:
		data = header(abi)
	default:
		text, err := strconv.Unquote(`"` + content + `"`)
		require.NoError(t, err)
		data = []byte(text)
	}
	require.NoError(t, os.WriteFile(name, data, mode))
}

// header is an ELF header of the ABI, and nothing more.
func header(abi *arch.ABI) []byte {
	data := make([]byte, 64)
	magic, _ := abi.Magic()
	copy(data, magic)
	if abi.FlagsMask != 0 {
		var order binary.ByteOrder = binary.LittleEndian
		if abi.Big {
			order = binary.BigEndian
		}
		order.PutUint32(data[36:], abi.Flags)
	}
	return data
}

// The hook finds each ABI's emulator by binproxy.conf, resolve by its table.
func TestEveryABI(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	var emulators []emulator.Emulator
	for _, abi := range arch.All() {
		if abi.QEMU != "" && !slices.ContainsFunc(emulators, func(e emulator.Emulator) bool { return e.QEMU == abi.QEMU }) {
			emulators = append(emulators, emulator.Emulator{QEMU: abi.QEMU, Path: "qemu-" + abi.QEMU})
		}
	}
	bundle := newBundle(t, filepath.Join(dir, "b"), config.Config{Emulators: emulators})
	driver := compile(t, "gcc", "driver.c")
	for _, abi := range arch.All() {
		path := filepath.Join(dir, abi.Name)
		require.NoError(t, os.WriteFile(path, header(abi), 0o755))
		got := byHook(t, bundle, driver, path, []string{"zero"})
		assert.Equal(t, byResolve(t, bundle, path, []string{"zero"}), got, abi.Name)
		if abi.QEMU != "" && abi != arch.Host() {
			assert.Contains(t, got, "argv ["+filepath.Join(bundle.Dir, "qemu-"+abi.QEMU)+"] ", abi.Name)
		}
	}
}

// forLoaders are variables that a dynamic emulator must pass on, except for one that it would
// split.
var forLoaders = []string{"LD_UNKNOWN=1", "LD_SPLIT=a,b", "OLD_LD_=1", "GLIBC_TUNABLES=glibc.malloc.check=0"}

// byHook makes the driver call execve under the hook. The emulators and the native program all
// print their argv.
func byHook(t *testing.T, bundle config.Config, driver, path string, argv []string) string {
	t.Helper()
	cmd := exec.Command(driver, append([]string{"execve", path}, argv...)...)
	cmd.Env = append(append(os.Environ(), "LD_PRELOAD="+entry(bundle, preload.ExecHook)), forLoaders...)
	return firstLine(cmd)
}

// byResolve acts on the plan.
func byResolve(t *testing.T, bundle config.Config, path string, argv []string) string {
	t.Helper()
	call := farm.Call{Config: bundle, Root: farm.Root{Self: bundle.Self(), Farms: bundle.AllFarms()}}
	req := resolve.Request{Path: path, Argv0: argv[0]}
	if argv[0] == "-" {
		req.Argv0, req.NoArgv = "", true
	}
	plan, errno := proxy.Resolver(call).Resolve(call.Root, req)
	if errno != 0 {
		return fmt.Sprintf("errno %d", errno)
	}
	program, prefix := plan.File.Path, plan.Prefix
	if !plan.Native() {
		e, err := bundle.Emulator(plan.ABI)
		require.NoError(t, err)
		program = e.Program()
		prefix, _ = proxy.Emulated(e, plan, bundle.Identity.Release, append([]string{"LD_PRELOAD=" + entry(bundle, preload.ExecHook)}, forLoaders...))
	}
	return firstLine(&exec.Cmd{Path: program, Args: append(prefix, argv[1:]...)})
}

func firstLine(cmd *exec.Cmd) string {
	out, err := cmd.Output()
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return fmt.Sprintf("errno %d", errno)
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return line
}
