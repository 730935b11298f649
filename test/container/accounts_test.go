package container

import (
	"io"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// Nothing that an image has in the place of its passwd is opened that is no file: a device does
// something then, and a pipe waits.
func TestAccountsAreFiles(t *testing.T) {
	both(t, func(t *testing.T, w who) {
		dir := w.smallRoot()
		w.does("container", "create", "--arch", "arm64", "--location", dir)
		defer w.does("container", "remove", "aarch64")
		require.NoError(t, os.Remove(dir+"/etc/passwd"))
		require.NoError(t, os.Symlink("/dev/zero", dir+"/etc/passwd"))
		w.refuses("/etc/passwd: not a regular file", "container", "enter", "aarch64", "--", "true")
		require.NoError(t, os.Remove(dir+"/etc/passwd"))
		endless, err := os.Create(dir + "/etc/passwd")
		require.NoError(t, err)
		defer endless.Close()
		_, err = io.Copy(endless, io.LimitReader(newlines{}, 17<<20))
		require.NoError(t, err)
		w.refuses("/etc/passwd has more than", "container", "enter", "aarch64", "--", "true")
	})
}

// newlines are lines without end.
type newlines struct{}

func (newlines) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = '\n'
	}
	return len(b), nil
}
