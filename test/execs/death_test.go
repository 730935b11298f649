package execs

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"binproxy/test/lib/built"
	"binproxy/test/lib/ended"
	"binproxy/test/lib/need"
)

// Whoever waits for a program's end sees the program's own death, whatever stands between them,
// and no second core.
func TestDeath(t *testing.T) {
	binproxy := built.Binproxy(t)
	for name, wrapper := range map[string][]string{
		"none":          nil,
		"supervise":     {binproxy, "run", "--route", "supervise", "--"},
		"keep-pid":      {binproxy, "run", "--keep-pid", "--"},
		"userns":        {binproxy, "binfmt", "--userns", "--"},
		"kernel run":    {binproxy, "kernel", "run", "--as", "4.15.0", "--"},
		"kernel record": {binproxy, "kernel", "record", "--once", "--output", os.DevNull, "--"},
		"two of them":   {binproxy, "run", "--", binproxy, "binfmt", "--userns", "--"},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "userns" || name == "two of them" {
				need.Given(t, exec.Command(binproxy, "binfmt", "--userns", "--", "true").Run() == nil, "a binfmt_misc of one's own")
			}
			for _, s := range []int{2, 9, 11, 15, 36} {
				dir := t.TempDir()
				argv := append(wrapper[:len(wrapper):len(wrapper)], "sh", "-c", "ulimit -Sc 0; kill -"+strconv.Itoa(s)+" $$")
				cmd := exec.Command("sh", append([]string{"-c", `ulimit -Sc unlimited 2>/dev/null; exec "$@"`, "sh"}, argv...)...)
				cmd.Dir = dir
				said, _ := cmd.CombinedOutput()
				assert.Equal(t, -s, ended.Status(cmd.ProcessState), "%s", said)
				assert.False(t, cmd.ProcessState.Sys().(syscall.WaitStatus).CoreDump(), "signal %d", s)
				left, err := filepath.Glob(dir + "/*")
				require.NoError(t, err)
				assert.Empty(t, left, "signal %d", s)
			}
		})
	}
}

// A terminal's Ctrl-C ends a shell's loop: the shell goes on if the command it waited for has only
// ended with a status.
func TestInterruptedLoop(t *testing.T) {
	need.Program(t, "bash", "bash")
	loop := func(command ...string) (string, int) {
		script := `for i in 1; do "$@"; echo went on; done`
		cmd := exec.Command("bash", append([]string{"-c", script, "bash"}, command...)...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		var out bytes.Buffer
		cmd.Stdout = &out
		require.NoError(t, cmd.Start())
		group := cmd.Process.Pid
		defer func() { _ = unix.Kill(-group, unix.SIGKILL) }()
		argument := command[len(command)-1]
		require.Eventually(t, func() bool { return runsIn(group, "sleep", argument) }, patience, 10*time.Millisecond)
		require.NoError(t, unix.Kill(-group, unix.SIGINT))
		_ = cmd.Wait()
		return out.String(), ended.Status(cmd.ProcessState)
	}
	for _, wrapper := range [][]string{nil, {built.Binproxy(t), "run", "--"}} {
		said, status := loop(append(wrapper, "sleep", "300.5")...)
		assert.Equal(t, -2, status, "%q", wrapper)
		assert.Empty(t, said, "%q", wrapper)
	}
}

// runsIn reports whether a process of the group is this command.
func runsIn(group int, argv ...string) bool {
	var want bytes.Buffer
	for _, word := range argv {
		want.WriteString(word + "\x00")
	}
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range all {
		text, _ := os.ReadFile(path)
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if of, err := unix.Getpgid(pid); err == nil && of == group && bytes.Equal(text, want.Bytes()) {
			return true
		}
	}
	return false
}

// The first process of a PID namespace cannot die of a signal, and ends with 128+N.
func TestDeathOfFirst(t *testing.T) {
	need.Root(t)
	unshare := need.Program(t, "unshare", "util-linux")
	for _, s := range []int{9, 11, 15} {
		dies := "ulimit -c 0; kill -" + strconv.Itoa(s) + " $$"
		cmd := exec.Command(unshare, "--fork", "--pid", "--mount-proc", built.Binproxy(t), "run", "--", "sh", "-c", dies)
		said, _ := cmd.CombinedOutput()
		assert.Equal(t, 128+s, ended.Status(cmd.ProcessState), "%s", said)
	}
}
