package execs

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"binproxy/test/lib/built"
	"binproxy/test/lib/ended"
	"binproxy/test/lib/host"
	"binproxy/test/lib/need"
)

// patience is how long a test waits for something before it gives up.
const patience = time.Minute

// actor compiles the actor for aarch64.
func actor(t *testing.T) string {
	t.Helper()
	need.Emulator(t, "aarch64")
	out := filepath.Join(t.TempDir(), "actor")
	gcc := need.Program(t, "aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu")
	text, err := exec.Command(gcc, "-static", "-O1", "-pthread", "-w", "-o", out, "testdata/actor.c").CombinedOutput()
	require.NoError(t, err, "%s", text)
	return out
}

// running is a running `binproxy run`.
type running struct {
	*exec.Cmd
	out *bufio.Reader
}

func start(t *testing.T, argv ...string) running {
	t.Helper()
	cmd := exec.Command(built.Binproxy(t), append([]string{"run", "--"}, argv...)...)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return running{cmd, bufio.NewReader(out)}
}

// line waits for the next line <TEXT>.
func (r running) line(t *testing.T) string {
	t.Helper()
	text, err := r.out.ReadString('\n')
	require.NoError(t, err)
	return strings.Trim(text, "<>\n")
}

func (r running) status(t *testing.T) int {
	t.Helper()
	_, _ = io.Copy(io.Discard, r.out)
	_ = r.Wait()
	return ended.Status(r.ProcessState)
}

// A signal that is sent to the supervisor is for the command.
func TestForward(t *testing.T) {
	a := actor(t)
	for _, s := range []unix.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM, unix.SIGTSTP, unix.SIGWINCH} {
		t.Run(fmt.Sprint(int(s)), func(t *testing.T) {
			r := start(t, a, "waits")
			require.Equal(t, "ready", r.line(t))
			require.NoError(t, r.Process.Signal(syscall.Signal(s)))
			require.Equal(t, fmt.Sprintf("signal %d", s), r.line(t))
			require.Equal(t, 5, r.status(t))
		})
	}
}

// In a container whose root has no CAP_KILL, signals still reach a command that has become another
// user, as they do from the engine where the command itself is its first process.
func TestForwardToAnotherUser(t *testing.T) {
	need.Root(t)
	a := actor(t)
	host.Reachable(t, filepath.Dir(a))
	self, err := os.Executable()
	require.NoError(t, err)
	setpriv := need.Program(t, "setpriv", "util-linux")
	other := func(argv ...string) running {
		argv = append([]string{built.Binproxy(t), "run", "--", setpriv, "--reuid", "61235", "--clear-groups"}, argv...)
		cmd := exec.Command(self, argv...)
		cmd.Env = append(os.Environ(), placeEnv+"="+noKill)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		cmd.Stderr = os.Stderr
		require.NoError(t, cmd.Start())
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		return running{cmd, bufio.NewReader(out)}
	}
	for _, s := range []unix.Signal{unix.SIGTERM, unix.SIGHUP, unix.SIGUSR1, unix.SIGWINCH, unix.SIGUSR2} {
		r := other(a, "waits")
		require.Equal(t, "ready", r.line(t))
		require.NoError(t, r.Process.Signal(syscall.Signal(s)))
		require.Equal(t, fmt.Sprintf("signal %d", s), r.line(t))
		require.Equal(t, 5, r.status(t))
	}
	// Execs at the same time: the supervisor asks whose threads its tracees are.
	r := other("/bin/sh", "-c", `for i in 1 2 3 4 5 6; do "$0" exits $i & done; for i in 1 2 3 4 5 6; do "$0" exits $i; done; wait; echo done`, a)
	require.Equal(t, "done", r.line(t))
	require.Equal(t, 0, r.status(t))
}

// Where the command has another PID than the process that was started, variables that name the one
// name the other: socket activation and watchdogs of service managers rely on it.
func TestVariablesWithPID(t *testing.T) {
	names := []string{"LISTEN_PID", "WATCHDOG_PID", "SYSTEMD_EXEC_PID", "MAINPID"}
	run := func(how ...string) string {
		command := "exec env OTHER_PID=1 PORT=$$ EMPTY= LISTEN_PIDFDID=1"
		for _, name := range names {
			command += " " + name + "=$$"
		}
		ask := `for n in ` + strings.Join(names, " ") + `; do eval "test \$$n = $$" && echo $n; done; echo $OTHER_PID ${EMPTY-unset} ${PORT#$1}`
		cmd := exec.Command("/bin/sh", append([]string{"-c", command + ` "$@" $$`, "sh"}, append(how, "/bin/sh", "-c", ask, "sh")...)...)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		require.NoError(t, err, "%v", how)
		return string(out)
	}
	want := run()
	require.Equal(t, strings.Join(names, "\n")+"\n1\n", want)
	for _, how := range [][]string{nil, {"--keep-pid"}, {"--route", "userns"}, {"--route", "farm"}} {
		require.Equal(t, want, run(slices.Concat([]string{built.Binproxy(t), "run"}, how, []string{"--"})...), "%v", how)
	}
}

func TestStatus(t *testing.T) {
	a := actor(t)
	for _, status := range []int{0, 1, 77, 255} {
		require.Equal(t, status, start(t, a, "exits", strconv.Itoa(status)).status(t))
	}
	for _, s := range []int{1, 2, 6, 9, 11, 15} {
		require.Equal(t, -s, start(t, a, "dies", strconv.Itoa(s)).status(t))
	}
	require.Equal(t, 127, start(t, "/nonexistent/program").status(t))
	require.Equal(t, 126, start(t, "/").status(t))
}

// gone waits until no process has the argument in its command line.
func gone(t *testing.T, argument string) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if len(withArgument(t, argument)) == 0 {
			return
		}
	}
	t.Fatalf("processes %v are left", withArgument(t, argument))
}

func withArgument(t *testing.T, argument string) (pids []int) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	for _, path := range all {
		text, _ := os.ReadFile(path)
		if bytes.Contains(text, []byte(argument)) {
			pid, _ := strconv.Atoi(strings.Split(path, "/")[2])
			pids = append(pids, pid)
		}
	}
	return pids
}

// If the supervisor dies, nothing runs unrouted.
func TestKilledSupervisor(t *testing.T) {
	a := actor(t)
	r := start(t, a, "waits")
	require.Equal(t, "ready", r.line(t))
	require.NoError(t, r.Process.Kill())
	_ = r.Wait()
	gone(t, a)
}

// Processes that the command leaves behind end with it, as in a container.
func TestLeftBehind(t *testing.T) {
	a := actor(t)
	r := start(t, a, "leaves")
	require.Equal(t, "left", r.line(t))
	require.Equal(t, 6, r.status(t))
	gone(t, a)
}

func TestOrphan(t *testing.T) {
	a := actor(t)
	r := start(t, a, "orphan")
	require.Equal(t, "orphan 1", r.line(t))
	require.Equal(t, 0, r.status(t))
}

// memory is a process's resident memory in KiB, and the number of its descriptors.
func memory(t *testing.T, pid int) (kib, files int) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &kib); err == nil {
			break
		}
	}
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	require.NoError(t, err)
	return kib, len(list)
}

// The supervisor's memory and descriptors do not grow with the number of execs.
func TestManyShort(t *testing.T) {
	a := actor(t)
	script := fmt.Sprintf("%[1]s spawns 500 %[1]s exits; read x; %[1]s spawns 500 %[1]s exits; %[1]s spawns 4000 /bin/true; read x", a)
	cmd := exec.Command(built.Binproxy(t), "run", "--", "sh", "-c", script)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	r := running{cmd, bufio.NewReader(out)}
	require.Equal(t, "bad 0", r.line(t))
	_, files := memory(t, cmd.Process.Pid)
	fmt.Fprintln(in)
	require.Equal(t, "bad 0", r.line(t))
	require.Equal(t, "bad 0", r.line(t))
	// The writer of that line ends a moment later, and so does what is kept of it.
	require.Eventually(t, func() bool { _, now := memory(t, cmd.Process.Pid); return now <= files }, 10*time.Second, 10*time.Millisecond)
	kib, _ := memory(t, cmd.Process.Pid)
	require.Less(t, kib, 16<<10)
	t.Logf("peak memory of the supervisor after 5,000 processes: %d KiB", kib)
	fmt.Fprintln(in)
	require.NoError(t, cmd.Wait())
}

func TestAtOnce(t *testing.T) {
	a := actor(t)
	r := start(t, a, "crowd", "200", a, "exits")
	require.Equal(t, "bad 0", r.line(t))
	require.Equal(t, 0, r.status(t))
}

func TestThreads(t *testing.T) {
	a := actor(t)
	r := start(t, a, "threads", a, "exits")
	for range 4 {
		require.Equal(t, "bad 0", r.line(t))
	}
	require.Equal(t, 0, r.status(t))
}

// A fork bomb under a limit of processes burns out, and the supervisor survives it.
func TestForkBomb(t *testing.T) {
	need.Root(t)
	group := filepath.Join("/sys/fs/cgroup/pids", fmt.Sprintf("binproxy-test-%d", os.Getpid()))
	if _, err := os.Stat("/sys/fs/cgroup/pids"); err != nil {
		group = filepath.Join("/sys/fs/cgroup", filepath.Base(group))
	}
	need.Given(t, os.Mkdir(group, 0o755) == nil, "a cgroup of its own")
	t.Cleanup(func() {
		err := os.Remove(group)
		for end := time.Now().Add(patience); err != nil && time.Now().Before(end); err = os.Remove(group) {
			time.Sleep(20 * time.Millisecond)
		}
		require.NoError(t, err)
	})
	err := os.WriteFile(filepath.Join(group, "pids.max"), []byte("100"), 0o644)
	need.Given(t, err == nil, "the pids controller")
	a := actor(t)
	// The limit is on the command only, since the supervisor has threads of its own.
	script := fmt.Sprintf("echo $$ > %s/cgroup.procs; exec %s bomb 4", group, a)
	r := start(t, "sh", "-c", script)
	for r.line(t) != "over" { // an emulator that gets no thread also prints a line
	}
	require.Equal(t, 0, r.status(t))
}

// Processes are killed at every moment of an exec. The others go on, and the supervisor keeps
// nothing of them.
func TestKilledTracees(t *testing.T) {
	a := actor(t)
	r := start(t, "sh", "-c", fmt.Sprintf("while :; do %[1]s spawns 30 %[1]s exits; done", a))
	_, files := memory(t, r.Process.Pid)
	killed := 0
	for end := time.Now().Add(patience); killed < 300 && time.Now().Before(end); {
		for i, pid := range withArgument(t, a) {
			if pid != r.Process.Pid && i%2 == killed%2 && !isShell(pid) && unix.Kill(pid, unix.SIGKILL) == nil {
				killed++
			}
		}
		time.Sleep(time.Duration(killed%7) * time.Millisecond)
	}
	require.Nil(t, r.ProcessState)
	require.Greater(t, killed, 50, "within the minute")
	// It holds a descriptor for each living guest, and the number of these is random at any
	// moment.
	after := 0
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if _, after = memory(t, r.Process.Pid); after <= files+12 {
			break
		}
	}
	require.LessOrEqual(t, after, files+12, "of %d that were killed, descriptors are left", killed)
	require.NoError(t, r.Process.Kill())
	_ = r.Wait()
	gone(t, a)
}

func isShell(pid int) bool {
	comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return string(comm) == "sh\n" || string(comm) == "binproxy\n"
}
