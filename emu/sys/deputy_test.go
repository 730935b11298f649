package sys_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
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
	"golang.org/x/sys/unix"

	"binproxy/emu/sys"
	"binproxy/test/lib/need"
)

func TestDeputy(t *testing.T) {
	dir := t.TempDir()
	long := strings.Repeat("line\n", 50_000)
	require.NoError(t, os.WriteFile(dir+"/file", []byte(long), 0o600))
	require.NoError(t, unix.Mkfifo(dir+"/fifo", 0o600))
	d, err := sys.Send()
	require.NoError(t, err)

	require.NoError(t, d.Chdir(dir))
	f, err := d.Open("file")
	require.NoError(t, err)
	text, err := io.ReadAll(f)
	require.NoError(t, errors.Join(err, f.Close()))
	assert.Equal(t, long, string(text))
	_, err = d.Open("fifo")
	assert.EqualError(t, err, "fifo: not a regular file", "nobody is waited for")

	mode, is, err := d.Stat("file")
	require.NoError(t, err)
	assert.EqualValues(t, unix.S_IFREG|0o600, mode)
	same, err := sys.Identify(dir + "/file")
	require.NoError(t, err)
	assert.Equal(t, same, is)
	assert.Error(t, d.Executable("file"))
	assert.NoError(t, d.Executable("/bin/sh"))
	_, _, err = d.Stat("none")
	assert.ErrorIs(t, err, fs.ErrNotExist)
	_, _, err = d.Stat("a\x00b")
	assert.ErrorIs(t, err, syscall.EINVAL)

	_, err = d.Exec(filepath.Join(dir, "file"), []string{"file"}, nil)
	assert.ErrorIs(t, err, fs.ErrPermission)
	_, err = d.Exec("/bin/sh", []string{"sh", strings.Repeat("x", 9<<20)}, nil)
	assert.ErrorIs(t, err, syscall.E2BIG)
	pid, err := d.Exec("/bin/sh", []string{"sh", "-c", `echo "$A $PWD" >here; exit 7`}, []string{"A=of the environment"})
	require.NoError(t, err)
	var status unix.WaitStatus
	_, err = unix.Wait4(pid, &status, 0, nil)
	require.NoError(t, err)
	assert.Equal(t, 7, status.ExitStatus())
	text, err = os.ReadFile(dir + "/here")
	require.NoError(t, err)
	assert.Equal(t, "of the environment "+dir+"\n", string(text))
}

// A deputy that a signal has ended reports that, and an unused one leaves no process.
func TestDeputyEnds(t *testing.T) {
	d, err := sys.Send()
	require.NoError(t, err)
	f, err := d.Open("/proc/self/stat") // whose it is
	require.NoError(t, err)
	text, err := io.ReadAll(f)
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.Fields(string(text))[0])
	require.NoError(t, err)
	require.NoError(t, unix.Kill(pid, unix.SIGTERM))
	for err == nil {
		err = d.Chdir("/")
	}
	assert.ErrorIs(t, err, sys.ErrGone)
	assert.Equal(t, pid, d.Release())
	var status unix.WaitStatus
	_, err = unix.Wait4(pid, &status, 0, nil)
	require.NoError(t, err)
	assert.Equal(t, unix.SIGTERM, status.Signal())

	d, err = sys.Send()
	require.NoError(t, err)
	d.Recall()
	_, err = unix.Wait4(-1, nil, unix.WNOHANG, nil)
	assert.ErrorIs(t, err, unix.ECHILD)
}

// A deputy that does not answer is given up, and opens files that others may not look into.
func TestDeputyOpens(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(dir+"/file", []byte("text"), 0o600))
	from, err := os.Open(dir)
	require.NoError(t, err)
	defer from.Close()
	d, err := sys.Send()
	require.NoError(t, err)
	fd, st, err := d.Openat2(int(from.Fd()), "file", unix.O_RDONLY, unix.RESOLVE_BENEATH)
	require.NoError(t, err)
	assert.EqualValues(t, 4, st.Size)
	f := os.NewFile(uintptr(fd), "file")
	defer f.Close()
	text, err := io.ReadAll(f)
	require.NoError(t, err)
	assert.Equal(t, "text", string(text))
	_, _, err = d.Openat2(int(from.Fd()), "../file", unix.O_RDONLY, unix.RESOLVE_BENEATH)
	require.ErrorIs(t, err, unix.EXDEV)

	d.Patience = 50 * time.Millisecond
	pid := child(t)
	require.NoError(t, unix.Kill(pid, unix.SIGSTOP))
	_, _, err = d.Stat("/")
	require.ErrorIs(t, err, sys.ErrGone)
	d.Recall() // does not wait
	var status unix.WaitStatus
	_, err = unix.Wait4(pid, &status, 0, nil)
	require.NoError(t, err)
	assert.Equal(t, unix.SIGKILL, status.Signal())
}

// A user whom a guarded deputy has become gets at nothing of it.
func TestDeputyGuarded(t *testing.T) {
	need.Root(t)
	const user = 65534
	d, err := sys.Send()
	require.NoError(t, err)
	defer d.Recall()
	require.NoError(t, d.Guard())
	require.NoError(t, d.Become(user, user, nil))
	proc := "/proc/" + strconv.Itoa(child(t))
	text, err := os.ReadFile(proc + "/status")
	require.NoError(t, err)
	assert.Contains(t, string(text), fmt.Sprintf("\nUid:\t%d\t%[1]d\t%[1]d\t%[1]d\n", user))
	assert.Contains(t, string(text), "\nCapEff:\t0000000000000000\n")
	assert.NotContains(t, string(text), "\nCapPrm:\t0000000000000000\n")
	ls := exec.Command("ls", proc+"/fd")
	ls.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
	out, err := ls.CombinedOutput()
	assert.Error(t, err)
	assert.Contains(t, string(out), "Permission denied")
}

// child is the one child that this process has.
func child(t *testing.T) int {
	t.Helper()
	var list []byte
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	require.NoError(t, err)
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		require.NoError(t, err)
		list = append(list, text...)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(list)))
	require.NoError(t, err)
	return pid
}
