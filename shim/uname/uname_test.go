package uname

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"binproxy/emu/identity"
	"binproxy/test/lib/need"
)

// reference is GNU's uname of the release that ours equals.
func reference(t testing.TB) string {
	t.Helper()
	path := need.Program(t, "uname", "coreutils")
	out, err := exec.Command(path, "--version").Output()
	require.NoError(t, err)
	need.Given(t, bytes.HasPrefix(out, []byte("uname (GNU coreutils) 9.1\n")), "uname of GNU coreutils 9.1 (Debian 12's)")
	return path
}

// gnu runs the reference with argv, in the C locale.
func gnu(t testing.TB, path string, argv []string, env ...string) answer {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.Cmd{Path: path, Args: argv, Env: append([]string{"LC_ALL=C"}, env...), Stdout: &stdout, Stderr: &stderr}
	err := cmd.Run()
	if exited := new(exec.ExitError); err != nil && !errors.As(err, &exited) {
		t.Fatal(err)
	}
	return answer{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

func ours(t testing.TB, argv []string, posixly bool, system func() (identity.Identity, error)) answer {
	t.Helper()
	a, err := respond(argv, posixly, system)
	require.NoError(t, err)
	return a
}

const letters = "asnrvmpio"

// subset is the subset of the letters that the bits of n pick.
func subset(n int) []byte {
	var picked []byte
	for i := range len(letters) {
		if n&(1<<i) != 0 {
			picked = append(picked, letters[i])
		}
	}
	return picked
}

// TestEverySubset compares all 512 subsets of the options with GNU's uname: as one cluster,
// backwards, and as long names.
func TestEverySubset(t *testing.T) {
	path := reference(t)
	for n := range 1 << len(letters) {
		picked := subset(n)
		cluster := []string{"uname"}
		if n != 0 {
			cluster = append(cluster, "-"+string(picked))
		}
		want := gnu(t, path, cluster)
		backwards, names := []string{"uname"}, []string{"uname"}
		for _, letter := range slices.Backward(picked) {
			backwards = append(backwards, "-"+string(letter))
		}
		for _, letter := range picked {
			names = append(names, "--"+longest(letter))
		}
		for _, argv := range [][]string{cluster, backwards, names} {
			require.Equal(t, want, ours(t, argv, false, identity.Kernel), "%q", argv)
		}
	}
}

func longest(letter byte) string {
	name := ""
	for _, o := range options {
		if o.short == letter && len(o.long) > len(name) {
			name = o.long
		}
	}
	return name
}

// TestEverySubsetOfAnIdentity does the same with an identity, which a preloaded uname(2) shows to
// GNU's uname.
func TestEverySubsetOfAnIdentity(t *testing.T) {
	path := reference(t)
	fake := identity.Identity{Sysname: "Lin ux", Nodename: "unknown", Release: "4.15.0-112-generic", Version: "#113 SMP  Debian", Machine: "armv7l"}
	library := preload(t, fake)
	for n := range 1 << len(letters) {
		argv := []string{"uname"}
		for _, letter := range subset(n) {
			argv = append(argv, "-"+string(letter))
		}
		want := gnu(t, path, argv, "LD_PRELOAD="+library)
		require.Equal(t, want, ours(t, argv, false, func() (identity.Identity, error) { return fake, nil }), "%q", argv)
	}
}

// preload makes a library whose uname(2) answers i.
func preload(t *testing.T, i identity.Identity) string {
	gcc := need.Program(t, "gcc", "gcc")
	dir := t.TempDir()
	source := fmt.Sprintf(`#include <string.h>
#include <sys/utsname.h>
int uname(struct utsname *u) {
	strcpy(u->sysname, %q); strcpy(u->nodename, %q); strcpy(u->release, %q); strcpy(u->version, %q); strcpy(u->machine, %q);
	return 0;
}
`, i.Sysname, i.Nodename, i.Release, i.Version, i.Machine)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "uname.c"), []byte(source), 0o644))
	library := filepath.Join(dir, "uname.so")
	out, err := exec.Command(gcc, "-shared", "-fPIC", "-o", library, filepath.Join(dir, "uname.c")).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return library
}

// TestAbbreviations compares every beginning of every long option, with and without an argument.
func TestAbbreviations(t *testing.T) {
	path := reference(t)
	for _, o := range options {
		for n := range len(o.long) + 1 {
			for _, tail := range []string{"", "=", "=1", "x"} {
				argv := []string{"uname", "--" + o.long[:n] + tail}
				require.Equal(t, gnu(t, path, argv), ours(t, argv, false, identity.Kernel), "%q", argv)
			}
		}
	}
}

// TestEveryByte compares an operand and an option of each byte, with the quoting of those that no
// terminal should get.
func TestEveryByte(t *testing.T) {
	path := reference(t)
	for c := 1; c < 256; c++ {
		for _, arg := range []string{string([]byte{byte(c)}), string([]byte{'-', byte(c)}), string([]byte{'-', 's', byte(c), 'n'}),
			string([]byte{'-', '-', byte(c)}), string([]byte{'a', byte(c), '?'})} {
			argv := []string{"uname", arg}
			require.Equal(t, gnu(t, path, argv), ours(t, argv, false, identity.Kernel), "%q", argv)
		}
	}
}

func TestArguments(t *testing.T) {
	path := reference(t)
	tests := []string{
		"uname --help", "uname --version", "./uname --help", "/binproxy/uname --version", "/binproxy/uname -x", "my-uname a",
		"uname --", "uname -s --", "uname -- -a", "uname -- a -b", "uname a -- -b", "uname a", "uname a b", "uname -a b", "uname a -s",
		"uname -", "uname - -x", "uname ---", "uname -s-", "uname --help x", "uname x --help", "uname -x --help", "uname --help -x",
		"uname --version --help", "uname --foo --version", "uname -s --foo=bar", "uname --kernel", "uname -sss", "uname -as",
		"uname -pa", "uname -ap", "uname -pi", "uname -snrvmpio", "uname -snrvmo", "uname -sr -m", "uname -W foo", "uname -:",
		"uname --sysname --release", "uname --hardware", "uname -h", "uname -V", "uname -z --version",
	}
	for _, line := range tests {
		for _, posixly := range []bool{false, true} {
			argv, env := strings.Fields(line), []string(nil)
			if posixly {
				env = []string{"POSIXLY_CORRECT="}
			}
			require.Equal(t, gnu(t, path, argv, env...), ours(t, argv, posixly, identity.Kernel), "%q, POSIXLY_CORRECT %t", argv, posixly)
		}
	}
}

// TestNoName starts it without a name (argv[0] empty), so that GNU's uname has none to print
// either.
func TestNoName(t *testing.T) {
	path := reference(t)
	for _, arg := range []string{"-x", "x", "--help", "--version", "-a"} {
		argv := []string{"", arg}
		require.Equal(t, gnu(t, path, argv), ours(t, argv, false, identity.Kernel), "%q", argv)
	}
}

// FuzzArguments compares any arguments (one a line) with GNU's uname.
func FuzzArguments(f *testing.F) {
	path := reference(f)
	for _, seed := range []string{"-a", "-snrvmpio", "--kernel\n-s", "a\n--\n-b", "--=x", "-s-\n", "--help", "\xff", "--re\n--si", "-\n"} {
		f.Add(seed, false)
	}
	f.Fuzz(func(t *testing.T, text string, posixly bool) {
		if strings.Contains(text, "\x00") || len(text) > 4096 {
			t.Skip("needs arguments that execve takes")
		}
		argv, env := append([]string{"uname"}, strings.Split(text, "\n")...), []string(nil)
		if posixly {
			env = []string{"POSIXLY_CORRECT=1"}
		}
		require.Equal(t, gnu(t, path, argv, env...), ours(t, argv, posixly, identity.Kernel))
	})
}

func TestSystemFails(t *testing.T) {
	_, err := respond([]string{"uname"}, false, func() (identity.Identity, error) { return identity.Identity{}, errors.ErrUnsupported })
	require.ErrorIs(t, err, errors.ErrUnsupported)
	a := ours(t, []string{"uname", "--version"}, false, func() (identity.Identity, error) { return identity.Identity{}, errors.ErrUnsupported })
	require.Equal(t, 0, a.status, "the identity is asked for only where it is printed")
}
