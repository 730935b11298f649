package sys_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"binproxy/emu/sys"
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
