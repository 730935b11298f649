package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A module with a test of each outcome, which is run for real.
const (
	fates = `package fates

import "testing"

func TestPasses(t *testing.T) {}
func TestParent(t *testing.T) {
	t.Run("a/with/slashes", func(t *testing.T) {})
	t.Run("b", func(t *testing.T) { t.Log("the reason why b fails"); t.Fail() })
	t.Run("c", func(t *testing.T) { t.Skip("needs a moon") })
}
func TestOwnFault(t *testing.T) {
	t.Run("fine", func(t *testing.T) {})
	t.Error("the parent's own fault")
}
func TestSkips(t *testing.T) { t.Log("first"); t.Skip("needs a moon") }
`
	panics = `package panics

import "testing"

func TestBefore(t *testing.T) {}
func TestPanics(t *testing.T) { panic("boo") }
`
	broken = `package broken

import "testing"

func TestNever(t *testing.T) { undefined() }
`
	leaves = `package leaves

import (
	"os"
	"testing"
)

func TestMain(m *testing.M) { m.Run(); println("left early"); os.Exit(3) }
func TestFine(t *testing.T) {}
`
	killed = `package killed

import (
	"os"
	"testing"
)

func TestBefore(t *testing.T) {}
func TestParent(t *testing.T) {
	t.Run("hangs", func(t *testing.T) {
		t.Log("waiting for a prompt")
		self, _ := os.FindProcess(os.Getpid())
		self.Kill()
		select {}
	})
}
`
	long = `package long

import "testing"

func TestShort(t *testing.T) {}
func TestMany(t *testing.T) {
	for _, name := range []string{"a", "b"} {
		t.Run(name, func(t *testing.T) { t.Skip("needs the long run: make test-all") })
	}
}
`
)

func run(t *testing.T, packages map[string]string) (*report, string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	write("go.mod", "module m\n")
	for name, text := range packages {
		write(name+"/"+name+"_test.go", text)
	}
	t.Chdir(dir)
	var out bytes.Buffer
	r := newReport(&out)
	all := &runner{report: r, env: append(os.Environ(), "TMPDIR="+t.TempDir())}
	if err := all.goTest(context.Background(), []string{"./..."}); err != nil {
		r.fail(err.Error())
	}
	r.close()
	return r, out.String()
}

func TestReport(t *testing.T) {
	tests := []struct {
		name, source string
		last         string
		says         []string
	}{
		{"fates", fates, "3 passed, 2 failed, 2 skipped", []string{"the reason why b fails", "the parent's own fault", "   2  needs a moon"}},
		{"panics", panics, "1 passed, 1 failed, 0 skipped", []string{"boo", "TestPanics"}},
		{"broken", broken, "0 passed, 1 failed, 0 skipped", []string{"undefined: undefined"}},
		{"leaves", leaves, "1 passed, 1 failed, 0 skipped", []string{"left early"}},
		{"killed", killed, "1 passed, 1 failed, 0 skipped", []string{"waiting for a prompt", "killed TestParent/hangs did not end", "== slowest\n   0.0 s  m/killed TestBefore\n"}},
		{"long", long, "1 passed, 0 failed, 2 skipped", []string{"== make test-all runs 2 more: 2 of m/long\n"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, out := run(t, map[string]string{tt.name: tt.source})
			lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
			assert.Equal(t, tt.last, lines[len(lines)-1])
			for _, text := range tt.says {
				assert.Contains(t, out, text)
			}
		})
	}
}

func TestGoItselfFails(t *testing.T) {
	var out bytes.Buffer
	r := newReport(&out)
	all := &runner{report: r, env: os.Environ()}
	err := all.goTest(context.Background(), []string{"-mod=nonesuch"})
	assert.ErrorContains(t, err, "no test failed")
}

func TestReason(t *testing.T) {
	for output, want := range map[string]string{
		"=== RUN   TestX\n    a_test.go:1: needs root\n--- SKIP: TestX (0.00s)\n":                            "needs root",
		"    a_test.go:1: looking\n    a_test.go:2: needs x (package y)\n    a_test.go:3: done\n--- SKIP: T": "needs x (package y)",
		"    a_test.go:1: other\n": "other",
		"--- SKIP: TestX":          "no reason given",
	} {
		assert.Equal(t, want, reason(output))
	}
}
