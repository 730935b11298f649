package container

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"binproxy/test/lib/need"
)

// The command lines of the three applets, one script each, one after the other, since they share
// one host. $ROOT is a small root of aarch64, $EMULATOR a static emulator for it.
func TestScripts(t *testing.T) {
	scripts, err := filepath.Glob("testdata/script/*.txtar")
	require.NoError(t, err)
	for _, script := range scripts {
		t.Run(filepath.Base(script), func(t *testing.T) { runScript(t, script) })
	}
}

func runScript(t *testing.T, script string) {
	w := root(t)
	emulator := need.Emulator(t, "aarch64")
	text, err := os.ReadFile(binproxy(t))
	require.NoError(t, err)
	testscript.Run(t, testscript.Params{
		Files: []string{script},
		Setup: func(env *testscript.Env) error {
			bin := filepath.Join(env.WorkDir, "bin")
			if err := os.Mkdir(bin, 0o755); err != nil {
				return err
			}
			env.Setenv("PATH", bin+":"+env.Getenv("PATH"))
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("EMULATOR", emulator)
			env.Setenv("ROOT", w.smallRoot())
			return os.WriteFile(filepath.Join(bin, "binproxy"), text, 0o755)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"status": status},
	})
}

// status N COMMAND...: runs the command, which has to end with that exit status, or with what
// takes its place ('signal: terminated').
func status(ts *testscript.TestScript, neg bool, args []string) {
	got := "0"
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		got = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if (got == args[0]) == neg {
		ts.Fatalf("%v: %s, want %s", args[1:], got, args[0])
	}
}
