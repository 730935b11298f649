package execs

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"binproxy/test/lib/built"
	"binproxy/test/lib/need"
)

// A dynamically linked emulator begins in its loader, and ends up with the same arguments and the
// same name as a static one.
func TestDynamicEmulator(t *testing.T) {
	emulator := need.Program(t, "qemu-aarch64", "qemu-user")
	b := newBench(t, kinds[0])
	for _, argv := range [][]string{{"@/probe", "a", "b c"}, {"@/script", "x"}, {"@/scriptarg", "x"}} {
		run := func(flags ...string) outcome {
			args := append(append([]string{b.binproxy, "run", "--route", "supervise"}, flags...), "--")
			return runIn(t, b.dir, []string{"PATH=/usr/bin:/bin", "SOME=thing"}, nil, append(args, b.expand(argv)...)...)
		}
		want := run()
		require.Contains(t, strings.Join(want.Output, "\n"), "argv[", "it shows what it got")
		require.Equal(t, want, run("--emulator", "aarch64="+emulator), argv)
	}
}

// A dynamically linked emulator may have no system call instruction of its own. The process gets
// its name by one of the loader's, whichever libc that is of, and wherever the program begins.
func TestEmulatorWithoutCalls(t *testing.T) {
	b := newBench(t, kinds[0])
	const show = `#include <stdio.h>
int main(int argc, char **argv) {
	char name[16] = "";
	FILE *f = fopen("/proc/self/comm", "r");
	fgets(name, sizeof name, f);
	printf("%s", name);
	while (*argv) puts(*argv++);
	return 7;
}
`
	for name, compiler := range map[string][]string{
		"glibc": {"gcc"}, "not PIE": {"gcc", "-no-pie"}, "musl": {"musl-gcc"},
	} {
		t.Run(name, func(t *testing.T) {
			pkg := map[string]string{"gcc": "gcc", "musl-gcc": "musl-tools"}[compiler[0]]
			emulator := filepath.Join(t.TempDir(), "shows")
			cc := exec.Command(need.Program(t, compiler[0], pkg), append(compiler[1:], "-w", "-o", emulator, "-xc", "-")...)
			cc.Stdin = strings.NewReader(show)
			said, err := cc.CombinedOutput()
			require.NoError(t, err, "%s", said)
			got := runIn(t, b.dir, []string{"PATH=/usr/bin:/bin"}, nil,
				"timeout", "-s", "KILL", "60", b.binproxy, "run", "--emulator", "aarch64="+emulator, "--", b.dir+"/probe", "a")
			require.Equal(t, outcome{7, []string{"probe", emulator, "-0", b.dir + "/probe", b.dir + "/probe", "a"}}, got)
		})
	}
}

// Others see the emulator as a guest's program, and the guest's name and arguments, as
// docs/supervise.md says for those who look for daemons.
func TestSeenByOthers(t *testing.T) {
	emulator := need.Emulator(t, "aarch64")
	gcc := need.Program(t, "aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu")
	program := filepath.Join(t.TempDir(), "pauses")
	cc := exec.Command(gcc, "-static", "-w", "-o", program, "-xc", "-")
	cc.Stdin = strings.NewReader("int main(void) { alarm(60); pause(); }\n")
	out, err := cc.CombinedOutput()
	require.NoError(t, err, "%s", out)
	const look = `"$1" x & p=$!
until [ "$(cat /proc/$p/comm)" = pauses ]; do sleep 0.1; done
readlink /proc/$p/exe; tr '\0' ' ' </proc/$p/cmdline; kill $p`
	said, err := exec.Command("timeout", "60", built.Binproxy(t), "run", "--emulator", emulator, "--", "sh", "-c", look, "sh", program).CombinedOutput()
	require.NoError(t, err, "%s", said)
	real, err := filepath.EvalSymlinks(emulator)
	require.NoError(t, err)
	require.Equal(t, real+"\n"+program+" x ", string(said))
}
