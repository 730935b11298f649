package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// An interrupted run also interrupts the commands that it has started, and their children.
func TestInterruptedEndsTheGroup(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := &runner{report: newReport(io.Discard), env: os.Environ()}
	ended := make(chan error, 1)
	go func() {
		ended <- r.timed(ctx, "sleep", nil, "sh", "-c", `sh -c 'echo $$ >"$0.new"; mv "$0.new" "$0"; exec sleep 600' "$0"; true`, file)
	}()
	var text []byte
	require.Eventually(t, func() (there bool) {
		var err error
		text, err = os.ReadFile(file)
		return err == nil
	}, 20*time.Second, 10*time.Millisecond)
	sleeper, err := strconv.Atoi(strings.TrimSpace(string(text)))
	require.NoError(t, err)
	cancel()
	select {
	case err := <-ended:
		require.Error(t, err)
	case <-time.After(20 * time.Second):
		t.Fatal("it goes on")
	}
	require.Eventually(t, func() bool { return syscall.Kill(sleeper, 0) == syscall.ESRCH }, 20*time.Second, 10*time.Millisecond)
}

// A flag that is not the command's own is go test's.
func TestArguments(t *testing.T) {
	r := &runner{report: newReport(io.Discard), env: os.Environ(), short: true}
	require.NoError(t, r.goTest(t.Context(), []string{"-run", "TestReason", "."}))
	require.Equal(t, 1, r.report.passed)
}

// A run reports which unused fixtures it removes, and continues if one cannot be removed.
func TestRemovesUnused(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	old := filepath.Join(cache, "binproxy", "roots", "old-0123456789ab.tar")
	require.NoError(t, os.MkdirAll(filepath.Dir(old), 0o755))
	for _, path := range []string{old, old + ".lock"} {
		require.NoError(t, os.WriteFile(path, nil, 0o644))
	}
	long := time.Now().Add(-unused - time.Minute)
	require.NoError(t, os.Chtimes(old+".lock", long, long))
	var said strings.Builder
	r := &runner{report: newReport(&said)}
	r.removeUnused()
	require.Equal(t, "removed, not used for 30 days: roots/old-0123456789ab.tar\n", said.String())
	require.NoFileExists(t, old)
	r.removeUnused()
	require.Equal(t, 1, strings.Count(said.String(), "\n"))

	t.Setenv("XDG_CACHE_HOME", filepath.Join(cache, "binproxy"))
	require.NoError(t, os.WriteFile(filepath.Join(cache, "binproxy", "binproxy"), nil, 0o644))
	r.removeUnused()
	require.Contains(t, said.String(), "not removed: ")
}
