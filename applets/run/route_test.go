package run

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"binproxy/emu/arch"
	"binproxy/emu/elfinfo/tiny"
	"binproxy/emu/exit"
	"binproxy/emu/supervise"
)

// TestUnregistered: only a guest's program that the kernel did not take is a matter of entries.
func TestUnregistered(t *testing.T) {
	dir := t.TempDir()
	guest, text := filepath.Join(dir, "guest"), filepath.Join(dir, "text")
	require.NoError(t, os.WriteFile(guest, tiny.Program(arch.Get("s390x")), 0o755))
	require.NoError(t, os.WriteFile(text, []byte("text\n"), 0o755))
	refused := exit.With(exit.CannotRun, unix.ENOEXEC)

	err := unregistered(refused, supervise.Config{Command: guest})
	assert.ErrorContains(t, err, "exec format error: --route kernel needs an entry of the host for s390x")
	assert.Equal(t, exit.CannotRun, exit.Code(err))

	assert.Equal(t, refused, unregistered(refused, supervise.Config{Command: text}))
	assert.Equal(t, unix.EACCES, unregistered(unix.EACCES, supervise.Config{Command: guest}))
}
