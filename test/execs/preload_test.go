package execs

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/test/lib/built"
	"binproxy/test/lib/need"
)

const (
	// a library that says that it was loaded, and whose it is
	said = `#include <unistd.h>
__attribute__((constructor)) static void said(void) { if (write(1, WHOSE "\n", sizeof WHOSE) < 0) _exit(1); }
`
	// a program that executes its arguments
	goesOn = `#include <unistd.h>
int main(int argc, char **argv) { return argc > 1 && execv(argv[1], argv + 1); }
`
)

// A library for one architecture is preloaded in the programs of that one, through all execs, and
// no loader of another one complains.
func TestPreloadOfTwoSides(t *testing.T) {
	const prefix = "/usr/aarch64-linux-gnu"
	need.Emulator(t, "aarch64")
	dir := t.TempDir()
	build := func(compiler, pkg, name, source string, flags ...string) string {
		out := filepath.Join(dir, name)
		cc := exec.Command(need.Program(t, compiler, pkg), append(flags, "-o", out, "-xc", "-")...)
		cc.Stdin = strings.NewReader(source)
		text, err := cc.CombinedOutput()
		require.NoError(t, err, "%s", text)
		return out
	}
	const cross, pkg = "aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"
	host := build("gcc", "gcc", "libhost.so", said, "-shared", "-fPIC", `-DWHOSE="host"`)
	guest := build(cross, pkg, "libguest.so", said, "-shared", "-fPIC", `-DWHOSE="guest"`)
	n, s, g := build("gcc", "gcc", "native", goesOn), build("gcc", "gcc", "static", goesOn, "-static"), build(cross, pkg, "guest", goesOn)
	const complains = "ERROR: ld.so: object '%' from LD_PRELOAD cannot be preloaded (cannot open shared object file): ignored.\n"
	for _, c := range []struct {
		preload, search string
		programs        []string
		want            string
	}{
		{host, "", []string{n, g, n}, "host\nhost\n"},
		{host, "", []string{g, n, g}, "host\n"},
		{host, "", []string{g, s, n}, "host\n"}, // by one that has no loader
		{guest, "", []string{g, n, g}, "guest\nguest\n"},
		{guest, "", []string{g, s, g}, "guest\nguest\n"},
		{"libhost.so", dir, []string{g, n}, "host\n"}, // as fakeroot names its own
		{"libguest.so", dir, []string{g, n, g}, "guest\nguest\n"},
		// nobody's: as without us
		{"/nowhere.so", "", []string{g, n}, strings.Repeat(strings.Replace(complains, "%", "/nowhere.so", 1), 2)},
	} {
		args := []string{"run", "--env", "LD_PRELOAD=" + c.preload, "--env", "LD_LIBRARY_PATH=" + c.search, "--env", "QEMU_LD_PREFIX=" + prefix, "--"}
		out, err := exec.Command(built.Binproxy(t), append(args, c.programs...)...).CombinedOutput()
		require.NoError(t, err, "%s", out)
		assert.Equal(t, c.want, string(out), "%s: %s", c.preload, c.programs)
	}
}
