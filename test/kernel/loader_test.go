package kernel

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
	"binproxy/test/lib/debs"
	"binproxy/test/lib/need"
)

// A library with libQt5Core's note, under the loaders themselves, to which qemu-user shows the
// release. The check predicts what they print.
func TestCheckAgainstTheLoader(t *testing.T) {
	need.Given(t, arch.Host().Name == "x86_64", "an amd64 host")
	qemu := need.Emulator(t, "x86_64")
	gcc := need.Program(t, "gcc", "gcc")
	dir := t.TempDir()
	library, program := filepath.Join(dir, "libnoted.so.5"), filepath.Join(dir, "program")
	for path, text := range map[string]string{
		"noted.s":   ".section .note.ABI-tag,\"a\",@note\n.balign 4\n.long 4, 16, 1\n.asciz \"GNU\"\n.long 0, 3, 17, 0\n.text\n.globl noted\nnoted: ret\n.section .note.GNU-stack,\"\",@progbits\n",
		"program.c": "void noted(void); int main(void) { noted(); return 0; }\n",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, path), []byte(text), 0o666))
	}
	for _, argv := range [][]string{
		{"-nostdlib", "-shared", "-Wl,-soname,libnoted.so.5", "-o", library, filepath.Join(dir, "noted.s")},
		// Only old symbol versions, so that bullseye's glibc has them.
		{"-nostdlib", "-Wl,-e,main", "-o", program, filepath.Join(dir, "program.c"), library, "-Wl,--no-as-needed", "-lc"},
	} {
		out, err := exec.Command(gcc, argv...).CombinedOutput()
		require.NoError(t, err, string(out))
	}
	for _, c := range []struct {
		suite, release string
		kind           string // what the check says
		loads          bool
	}{
		{"bullseye", "3.10.0", "hard", false},
		{"bullseye", "3.17.0", "", true},
		{"bookworm", "3.10.0", "soft", true},
	} {
		libs := filepath.Join(debs.Unpacked(t, c.suite, "libc6"), "lib/x86_64-linux-gnu")
		report, _ := check(t, "--kernel", c.release, library, filepath.Join(libs, "libc.so.6"))
		kind, _ := report.one(t, "libnoted.so.5", "note")
		require.Equal(t, c.kind, kind, c)
		out, err := exec.Command(qemu, "-r", c.release, filepath.Join(libs, "ld-linux-x86-64.so.2"), "--library-path", libs+":"+dir, "--list", program).CombinedOutput()
		where := fmt.Sprintf("%+v: %v\n%s", c, err, out)
		if c.loads {
			require.NoError(t, err, where)
			require.Contains(t, string(out), "libnoted.so.5 => "+library, where)
		} else {
			require.Contains(t, string(out), "libnoted.so.5: cannot open shared object file", where)
		}
	}
}
