package resolve_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/resolve"
	"binproxy/emu/sys"
)

const asInterpreter = "RESOLVE_TEST_PRINT_ARGV"

// TestMain: the test binary is also the interpreter of the scripts that the kernel runs. It prints
// its arguments.
func TestMain(m *testing.M) {
	if os.Getenv(asInterpreter) != "" {
		fmt.Printf("%q", os.Args)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// disk shows the real files.
type disk struct{}

func (disk) Open(path string) (resolve.File, syscall.Errno) {
	head, errno := sys.ReadExecutable(path, resolve.HeadSize)
	return resolve.File{Path: path, Head: head}, errno
}

// kernel execs the script and gives the result.
func kernel(path string) string {
	var out bytes.Buffer
	cmd := &exec.Cmd{Path: path, Args: []string{"argv0", "one"}, Env: []string{asInterpreter + "=1"}, Stdout: &out}
	if err := cmd.Run(); err != nil {
		return sys.Errno(err).Error()
	}
	return out.String()
}

// ours gives the result by the plan.
func ours(path string) string {
	plan, errno := resolve.Resolver{Guest: guestsOf().Guest}.Resolve(disk{}, resolve.Request{Path: path, Argv0: "argv0"})
	if errno != 0 {
		return errno.Error()
	}
	if !plan.Script && !bytes.HasPrefix(plan.File.Head, []byte("\x7fELF")) {
		return syscall.ENOEXEC.Error() // left to the kernel
	}
	return fmt.Sprintf("%q", append(plan.Prefix, "one"))
}

// interpreter is a short path to the test binary, so that lines have room.
func interpreter(t testing.TB) (dir, path string) {
	dir, err := os.MkdirTemp("", "r")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	self, err := os.Executable()
	require.NoError(t, err)
	path = filepath.Join(dir, "i")
	require.NoError(t, os.Symlink(self, path))
	return dir, path
}

// TestScriptsAsTheKernel writes scripts and compares the plan with what this kernel does.
func TestScriptsAsTheKernel(t *testing.T) {
	dir, i := interpreter(t)
	upTo := func(n int, line string) string { return line + strings.Repeat("x", n-len(line)) }
	tests := map[string]string{
		"empty": "", "only the mark": "#!", "mark and newline": "#!\n", "half the mark": "#", "text": "echo\n",
		"plain": "#!" + i + "\n", "no newline": "#!" + i, "no newline, argument": "#!" + i + " arg", "no newline, blanks behind": "#!" + i + " arg  ",
		"blank before": "#! \t " + i + "\n", "argument": "#!" + i + " -a b  c\n", "tabs": "#!\t" + i + "\targ\tx\t\n", "blanks behind": "#!" + i + " arg \t \n",
		"blanks only": "#!  \t \n", "blanks only, no newline": "#!   ", "blanks behind the interpreter": "#!" + i + "   \n",
		"carriage return": "#!" + i + "\r\n", "NUL in the interpreter": "#!" + i + "\x00 x\n", "NUL in the argument": "#!" + i + " a\x00b\n",
		"NUL as the argument": "#!" + i + " \x00\n", "NUL first": "#!\x00" + i + "\n", "missing interpreter": "#!/nonexistent\n", "directory": "#!" + dir + "\n",
		"relative": "#!nonexistent\n", "quotes": "#!" + i + " 'a b' \"c\"\n", "blanks to the end of the buffer": "#!" + strings.Repeat(" ", 300) + i + "\n",
	}
	for n := 250; n <= 300; n++ {
		tests[fmt.Sprintf("argument up to %d", n)] = upTo(n, "#!"+i+" ") + "\n"
		tests[fmt.Sprintf("argument up to %d, no newline", n)] = upTo(n, "#!"+i+" ")
		tests[fmt.Sprintf("interpreter up to %d", n)] = upTo(n, "#!"+i) + "\n"
		tests[fmt.Sprintf("interpreter up to %d, argument", n)] = upTo(n, "#!"+i) + " x\n"
		tests[fmt.Sprintf("blanks up to %d", n)] = "#!" + i + strings.Repeat(" ", n-2-len(i)) + "\n"
		tests[fmt.Sprintf("interpreter at the end, %d", n)] = "#!" + strings.Repeat(" ", n-2-len(i)) + i + "\n"
	}
	for name, text := range tests {
		script := filepath.Join(dir, "s")
		require.NoError(t, os.WriteFile(script, []byte(text), 0o755))
		assert.Equal(t, kernel(script), ours(script), "%s: %q", name, text)
		require.NoError(t, os.Remove(script))
	}
}

// TestNestedAsTheKernel: how deep interpreters may be scripts themselves, and which error comes
// first.
func TestNestedAsTheKernel(t *testing.T) {
	dir, i := interpreter(t)
	for _, end := range []string{i, "/nonexistent", dir} {
		for depth := 1; depth <= 8; depth++ {
			last := end
			for n := range depth {
				script := filepath.Join(dir, fmt.Sprint("s", n))
				require.NoError(t, os.WriteFile(script, []byte("#!"+last+" arg"+fmt.Sprint(n)), 0o755))
				last = script
			}
			assert.Equal(t, kernel(last), ours(last), "%d deep, ending in %s", depth, end)
		}
	}
	for name, mode := range map[string]os.FileMode{"readable": 0o644, "executable": 0o755, "none": 0o600} {
		inner, outer := filepath.Join(dir, "inner"), filepath.Join(dir, "outer")
		require.NoError(t, os.WriteFile(inner, []byte("#!"+i), 0o755))
		require.NoError(t, os.Chmod(inner, mode))
		require.NoError(t, os.WriteFile(outer, []byte("#!"+inner), 0o755))
		assert.Equal(t, kernel(outer), ours(outer), name)
		assert.Equal(t, kernel(inner), ours(inner), name)
	}
}

func FuzzParseScript(f *testing.F) {
	for _, seed := range []string{"#!/bin/sh\n", "#!", "#! \t/a b c \n", "#!/x \x00", "#!" + strings.Repeat("x", 260), "\x7fELF"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, head []byte) {
		head = head[:min(len(head), resolve.HeadSize)]
		before := bytes.Clone(head)
		s, ok, errno := resolve.ParseScript(head)
		require.Equal(t, before, head)
		switch {
		case ok:
			require.Zero(t, errno)
			require.False(t, strings.ContainsAny(s.Arg, "\x00\n"))
			require.False(t, strings.ContainsAny(s.Interpreter, " \t\n\x00"))
			require.True(t, s.HasArg || s.Arg == "")
			require.True(t, strings.HasPrefix(string(head), "#!"))
		case errno != 0:
			require.Equal(t, syscall.ENOEXEC, errno)
		default:
			require.False(t, len(head) >= 2 && string(head[:2]) == "#!")
		}
	})
}
