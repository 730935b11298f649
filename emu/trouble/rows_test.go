package trouble

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/test/lib/need"
)

func TestKindsOfPrograms(t *testing.T) {
	gcc := need.Program(t, "gcc", "gcc")
	dir := t.TempDir()
	source := filepath.Join(dir, "main.c")
	require.NoError(t, os.WriteFile(source, []byte("int main(void) { return 0; }\n"), 0o644))
	compiled := func(flags ...string) string {
		file := filepath.Join(dir, "program"+flags[0])
		out, err := exec.Command(gcc, append(flags, "-o", file, source)...).CombinedOutput()
		require.NoError(t, err, "%s", out)
		return file
	}
	own, err := os.Executable()
	require.NoError(t, err)
	for _, c := range []struct {
		file      string
		pie, isGo bool
	}{
		{compiled("-static-pie"), true, false},
		{compiled("-static"), false, false},
		{compiled("-pie"), false, false},
		{own, false, true},
		{source, false, false},
		{filepath.Join(dir, "none"), false, false},
	} {
		assert.Equal(t, c.pie, staticPIE(c.file), c.file)
		assert.Equal(t, c.isGo, isGo(c.file), c.file)
	}
}
