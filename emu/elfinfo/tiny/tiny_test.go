package tiny_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
	"binproxy/emu/elfinfo"
	"binproxy/emu/elfinfo/tiny"
	"binproxy/test/lib/need"
)

// By our own reading, each is a program of its ABI, and of no other.
func TestIsOfItsABI(t *testing.T) {
	for _, abi := range arch.All() {
		program := tiny.Program(abi)
		require.NotNil(t, program, abi.Name)
		info, err := elfinfo.Read(bytes.NewReader(program))
		require.NoError(t, err, abi.Name)
		assert.Equal(t, abi, info.ABI())
		assert.True(t, info.Executable() && info.Static(), abi.Name)
	}
}

// Each reports the same when its emulator runs it.
func TestRuns(t *testing.T) {
	for _, abi := range arch.All() {
		t.Run(abi.Name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "tiny")
			require.NoError(t, os.WriteFile(path, tiny.Program(abi), 0o755))
			cmd := exec.Command(path)
			if !abi.Native(arch.Host()) {
				cmd = exec.Command(need.Emulator(t, abi.QEMU), path)
			}
			err := cmd.Run()
			if abi.Name == "x32" {
				need.Given(t, err == nil || cmd.ProcessState != nil, "a kernel with x32")
			}
			var status *exec.ExitError
			require.ErrorAs(t, err, &status, "%v", errors.Unwrap(err))
			assert.Equal(t, tiny.Status, status.ExitCode(), "%v", err)
		})
	}
}
