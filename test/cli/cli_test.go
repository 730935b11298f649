// Package cli tests the command line, one txtar script for each behaviour, on the real program.
package cli

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"binproxy/emu/elfinfo"
	"binproxy/test/lib/built"
	"binproxy/test/lib/fixture"
	"binproxy/test/lib/need"
)

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           "testdata",
		UpdateScripts: os.Getenv("UPDATE") != "",
		Setup: func(env *testscript.Env) error {
			bin := filepath.Join(env.WorkDir, "bin")
			if err := os.Mkdir(bin, 0o755); err != nil {
				return err
			}
			fixture.Link(t, built.Binproxy(t), filepath.Join(bin, "binproxy"))
			env.Setenv("PATH", bin+string(os.PathListSeparator)+env.Getenv("PATH"))
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("GOCACHE", goCache)
			env.Values[theT] = env.T()
			return nil
		},
		Condition: func(cond string) (bool, error) {
			if cond == "root" {
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"dynamic":  dynamic,
			"emulator": emulator,
			"status":   status,
			"guest":    guest,
			"keys":     keys,
		},
	})
}

// emulator QEMU VAR: sets VAR to the static emulator's path, or skips the script.
func emulator(ts *testscript.TestScript, neg bool, args []string) {
	ts.Setenv(args[1], need.Emulator(tb(ts), args[0]))
}

// dynamic QEMU VAR: sets VAR to a dynamically linked emulator's path, or skips the script if the
// distribution has only static ones.
func dynamic(ts *testscript.TestScript, neg bool, args []string) {
	path := need.Program(tb(ts), "qemu-"+args[0], "qemu-user")
	f, err := os.Open(path)
	ts.Check(err)
	defer f.Close()
	info, err := elfinfo.Read(f)
	ts.Check(err)
	need.Given(tb(ts), !info.Static(), "a dynamically linked qemu-"+args[0])
	ts.Setenv(args[1], path)
}

// guest GOARCH SOURCE FILE: builds a static guest program from a Go source.
func guest(ts *testscript.TestScript, neg bool, args []string) {
	built.Guest(tb(ts), args[0], ts.MkAbs(args[1]), ts.MkAbs(args[2]))
}

// status N COMMAND...: runs the command, checks its exit status, and keeps its output for stdout
// and stderr.
func status(ts *testscript.TestScript, neg bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	if err != nil {
		got = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if (got == args[0]) == neg {
		ts.Fatalf("%v: status %s, want %s", args[1:], got, args[0])
	}
}

// keys PATH KEY...: the last command's output is one JSON object, and the object at PATH in it
// (names and indices with dots between, or a single dot) has exactly these keys.
func keys(ts *testscript.TestScript, neg bool, args []string) {
	var at any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &at))
	for part := range strings.FieldsFuncSeq(args[0], func(r rune) bool { return r == '.' }) {
		if list, ok := at.([]any); ok {
			i, err := strconv.Atoi(part)
			ts.Check(err)
			at = list[i]
		} else {
			at = at.(map[string]any)[part]
		}
	}
	got := slices.Sorted(maps.Keys(at.(map[string]any)))
	want := slices.Sorted(slices.Values(args[1:]))
	if slices.Equal(got, want) == neg {
		ts.Fatalf("%s has the keys %v, want %v", args[0], got, want)
	}
}

// tb makes a testing.TB of a running script: it fails or skips the script.
func tb(ts *testscript.TestScript) testing.TB { return scriptTB{ts: ts} }

type scriptTB struct {
	testing.TB // nil: only methods that need and built call exist
	ts         *testscript.TestScript
}

func (s scriptTB) Helper()                           {}
func (s scriptTB) Fatal(args ...any)                 { s.ts.Fatalf("%v", args) }
func (s scriptTB) Fatalf(format string, args ...any) { s.ts.Fatalf(format, args...) }
func (s scriptTB) Skipf(format string, args ...any) {
	s.ts.Value(theT).(testscript.T).Skip(fmt.Sprintf(format, args...))
}

type key struct{}

// theT is the key of the script's testscript.T.
var theT key

// goCache keeps the guests that scripts compile, although a script has its own HOME.
var goCache = func() string {
	out, _ := exec.Command("go", "env", "GOCACHE").Output()
	return strings.TrimSpace(string(out))
}()
