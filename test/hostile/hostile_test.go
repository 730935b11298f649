// Package hostile runs programs under supervision that attack their tracer, or are only odd. It
// checks that they end, or have the same result as without a tracer.
package hostile

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/test/lib/built"
	"binproxy/test/lib/host"
	"binproxy/test/lib/need"
)

// patience is how long a command may run before it counts as hanging.
const patience = 3 * time.Minute

// place has the hostile program and a guest, in a directory that everybody may use.
type place struct {
	dir            string
	hostile, guest string
	binproxy       string
	user           uint32 // the user who runs it; 0 for the tests' own
}

func newPlace(t *testing.T) *place {
	t.Helper()
	need.Emulator(t, "aarch64")
	dir, err := os.MkdirTemp("", "hostile")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755))
	p := &place{dir: dir, hostile: filepath.Join(dir, "hostile"), guest: filepath.Join(dir, "guest"), binproxy: filepath.Join(dir, "binproxy")}
	compile(t, "gcc", "gcc", "testdata/hostile.c", p.hostile)
	compile(t, "aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu", "testdata/guest.c", p.guest)
	// Nobody else can find it in the cache of the tests' own user.
	text, err := os.ReadFile(built.Binproxy(t))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(p.binproxy, text, 0o755))
	return p
}

func compile(t *testing.T, compiler, pkg, source, out string) {
	t.Helper()
	gcc := need.Program(t, compiler, pkg)
	text, err := exec.Command(gcc, "-static", "-O1", "-pthread", "-w", "-o", out, source).CombinedOutput()
	require.NoError(t, err, "%s", text)
}

// everybody runs a test as the tests' own user and, if that is root, also as an ordinary user.
func everybody(t *testing.T, test func(t *testing.T, p *place)) {
	p := newPlace(t)
	if os.Geteuid() != 0 {
		test(t, p)
		return
	}
	t.Run("root", func(t *testing.T) { test(t, p) })
	user := *p
	user.user = host.UserID
	t.Run("user", func(t *testing.T) { test(t, &user) })
}

// outcome is how a command ended, and its output on both streams.
type outcome struct {
	status int // 128 plus the signal for one that was killed
	out    []string
	said   string
}

// ends runs a command, which must end.
func (p *place) ends(t *testing.T, argv ...string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = p.dir, []string{"PATH=/usr/bin:/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if p.user != 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: p.user, Gid: p.user}
	}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	err := cmd.Run()
	require.NoError(t, ctx.Err(), "%s does not end: %s%s", argv, &out, &said)
	if cmd.ProcessState == nil {
		require.NoError(t, err)
	}
	status := cmd.ProcessState.Sys().(syscall.WaitStatus)
	o := outcome{status.ExitStatus(), strings.Split(strings.TrimSpace(out.String()), "\n"), said.String()}
	if status.Signaled() {
		o.status = 128 + int(status.Signal())
	}
	return o
}

// supervised runs a command under supervision.
func (p *place) supervised(t *testing.T, argv ...string) outcome {
	t.Helper()
	return p.ends(t, append([]string{p.binproxy, "run", "--route", "supervise", "--"}, argv...)...)
}

// A program's own seccomp filter decides on each of the calls by which it can execute a guest. No
// change that was made for the exec is left behind.
func TestOwnFilter(t *testing.T) {
	everybody(t, func(t *testing.T, p *place) {
		untouched := func(errno string) []string { return []string{"errno: " + errno, "next descriptor: 3"} }
		for _, c := range []struct {
			call, action, how string
			want              []string
		}{
			{"execve", "1", "execveat", []string{"guest"}},
			{"execveat", "1", "execveat", untouched("EPERM")},
			{"execve", "1", "execve", untouched("EPERM")},
			// The emulator is executed by execveat.
			{"execveat", "1", "execve", untouched("EPERM")},
			{"execveat", "38", "execve", untouched("ENOSYS")},
			{"execve", "trace", "execveat", []string{"guest"}},
			{"execveat", "trace", "execve", []string{"guest"}},
			{"close", "1", "execve", []string{"guest"}},
		} {
			name := c.call + " " + c.action + ", " + c.how
			o := p.supervised(t, p.hostile, "filter", c.call, c.action, c.how, p.guest)
			require.Equal(t, c.want, o.out, "%s: %s", name, o.said)
			require.Zero(t, o.status, name)
		}
	})
}

// Without room for the few threads that the program starts, it says so in one line; with room, it
// works.
func TestProcessLimit(t *testing.T) {
	need.Root(t) // for a user without other processes
	prlimit := need.Program(t, "prlimit", "util-linux")
	p := newPlace(t)
	p.user = 1<<20 + uint32(os.Getpid())
	for limit, want := range map[string]string{"6": "raise it", "10": "raise it", "40": ""} {
		o := p.ends(t, prlimit, "--nproc="+limit, p.binproxy, "run", "--route", "supervise", "--", p.guest)
		if want == "" {
			require.Equal(t, []string{"guest"}, o.out, o.said)
			continue
		}
		require.Equal(t, 125, o.status, "limit %s: %s", limit, o.said)
		require.Regexp(t, "^binproxy: the limit of processes .*raise it\n$", o.said)
	}
}

// Children that are not to be traced are traced all the same: they execute guests, and end with
// the run.
func TestUntraced(t *testing.T) {
	everybody(t, func(t *testing.T, p *place) {
		o := p.supervised(t, p.hostile, "untraced", p.guest)
		require.Zero(t, o.status, o.said)
		require.Len(t, o.out, 2, o.said)
		require.Equal(t, "guest", o.out[0])
		left, err := strconv.Atoi(strings.TrimPrefix(o.out[1], "left: "))
		require.NoError(t, err)
		ended := func() bool {
			command, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", left))
			return !bytes.Contains(command, []byte(p.hostile))
		}
		if !assert.Eventually(t, ended, 10*time.Second, 10*time.Millisecond, "it outlives the run") {
			_ = syscall.Kill(left, syscall.SIGKILL)
		}
	})
}
