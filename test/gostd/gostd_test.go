// Package gostd runs the Go standard library's own tests of execs, files, system calls and
// signals, built for arm64, by the supervised route and by a user namespace's binfmt_misc, and
// compares which of them pass.
package gostd

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"binproxy/test/lib/built"
	"binproxy/test/lib/need"
)

func TestStandardLibrary(t *testing.T) {
	emulator := need.Emulator(t, "aarch64")
	binproxy := built.Binproxy(t)
	probe := exec.Command(binproxy, "run", "--route", "userns", "--", binproxy, "version")
	said, err := probe.CombinedOutput()
	need.Installed(t, err == nil, "the userns route: "+string(said))
	root, err := exec.Command("go", "env", "GOROOT").Output()
	require.NoError(t, err)
	for name, least := range map[string]int{"os/exec": 30, "os": 200, "syscall": 40, "os/signal": 15} {
		t.Run(name, func(t *testing.T) {
			if name != "os/exec" {
				need.Long(t)
			}
			s := suite{
				dir:  filepath.Join(strings.TrimSpace(string(root)), "src", name),
				test: filepath.Join(t.TempDir(), "tests"),
				run:  []string{binproxy, "run", "--emulator", emulator},
			}
			s.build(t, name)
			reference, ours := s.outcomes(t, "userns"), s.outcomes(t, "supervise")
			require.GreaterOrEqual(t, len(ours), least)
			differ := differing(reference, ours)
			if len(differ) == 0 {
				return
			}
			// Some of them depend on the clock, so each of these gets a second chance, under both.
			pattern := "^(" + strings.Join(differ, "|") + ")$"
			reference, ours = s.outcomes(t, "userns", pattern), s.outcomes(t, "supervise", pattern)
			for _, test := range differing(reference, ours) {
				t.Errorf("%s: %s, with the kernel's binfmt_misc %s", test, ours[test], reference[test])
			}
		})
	}
}

// suite is the tests of one package.
type suite struct {
	dir, test string
	run       []string
}

func (s suite) build(t *testing.T, name string) {
	t.Helper()
	cmd := exec.Command("go", "test", "-c", "-o", s.test, name)
	cmd.Env = append(os.Environ(), "GOARCH=arm64", "CGO_ENABLED=0")
	said, err := cmd.CombinedOutput()
	require.NoError(t, err, string(said))
}

// outcomes runs the tests that match a pattern, or all, by a route. It maps names to PASS, FAIL or
// SKIP.
//
// A child of the emulator now and then waits for ever for a lock that another thread had when it
// forked, by either route. The tests then end at their limit, and are run again.
func (s suite) outcomes(t *testing.T, route string, pattern ...string) map[string]string {
	t.Helper()
	args := append(slices.Clone(s.run[1:]), "--route", route, "--", s.test, "-test.v", "-test.short", "-test.timeout=4m")
	if len(pattern) > 0 {
		args = append(args, "-test.run="+pattern[0])
	}
	out, err := s.once(t, args)
	for again := 2; again > 0 && strings.Contains(out, "panic: test timed out"); again-- {
		t.Logf("%q: once more: it did not end", args)
		out, err = s.once(t, args)
	}
	require.NoError(t, err, "%q\n%s", args, out[max(0, len(out)-4000):])
	return results(out)
}

// once runs the tests, of which some may fail.
func (s suite) once(t *testing.T, args []string) (string, error) {
	t.Helper()
	cmd := exec.Command(s.run[0], args...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if failed := (*exec.ExitError)(nil); errors.As(err, &failed) && failed.ExitCode() == 1 {
		err = nil
	}
	return out.String(), err
}

func results(out string) map[string]string {
	found := map[string]string{}
	for _, m := range result.FindAllStringSubmatch(out, -1) {
		found[m[2]] = m[1]
	}
	return found
}

// a test's, without its subtests
var result = regexp.MustCompile(`--- (PASS|FAIL|SKIP): ([^\s/]+) \(`)

// differing are the tests whose outcome differs from the reference's. It ignores tests that the
// reference skips, since a user namespace forbids some, and tests that an ordinary user's run
// skips, since in the reference's namespace that user is root.
func differing(reference, ours map[string]string) []string {
	var names []string
	for name, outcome := range ours {
		unprivileged := outcome == "SKIP" && os.Geteuid() != 0
		if want := reference[name]; want != outcome && want != "SKIP" && !unprivileged {
			names = append(names, name)
		}
	}
	for name := range reference {
		if _, ok := ours[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
