package uml

import (
	"binproxy/test/lib/ended"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// limit is how long a command of a test may take before it counts as stuck.
const limit = 3 * time.Minute

// A process is a running command of a test. It is ended if it is stuck, and if the test ends
// first.
type process struct {
	*exec.Cmd
	t       testing.TB
	watch   *time.Timer
	overdue atomic.Bool
	once    sync.Once
}

// started are the processes that tests wait for.
var started = struct {
	sync.Mutex
	pids map[int]bool
}{pids: map[int]bool{}}

// start starts a command; its end has to be waited for.
func start(t testing.TB, cmd *exec.Cmd) *process {
	t.Helper()
	return startFor(t, cmd, limit)
}

func startFor(t testing.TB, cmd *exec.Cmd, limit time.Duration) *process {
	t.Helper()
	cmd.WaitDelay = 10 * time.Second // for whatever holds its output, after its end
	started.Lock()
	defer started.Unlock()
	require.NoError(t, cmd.Start())
	started.pids[cmd.Process.Pid] = true
	p := &process{Cmd: cmd, t: t}
	p.watch = time.AfterFunc(limit, func() {
		p.overdue.Store(true)
		cmd.Process.Kill()
	})
	t.Cleanup(func() {
		cmd.Process.Kill()
		p.wait()
	})
	return p
}

// wait waits for the process's end and returns its status, -N where signal N ended it.
func (p *process) wait() int {
	p.t.Helper()
	p.once.Do(func() {
		p.Wait()
		p.watch.Stop()
		started.Lock()
		delete(started.pids, p.Process.Pid)
		started.Unlock()
		if p.overdue.Load() {
			p.t.Errorf("%s was stuck and has been ended", p)
		}
	})
	return ended.Status(p.ProcessState)
}

// finish runs a command to its end.
func finish(t testing.TB, cmd *exec.Cmd, stdin io.Reader) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &stdout, &stderr
	status := start(t, cmd).wait()
	return result{status, stdout.String(), stderr.String()}
}

// tool runs a program that makes something for a test.
func tool(t testing.TB, name string, args ...string) {
	t.Helper()
	r := finish(t, exec.Command(name, args...), nil)
	require.Zero(t, r.status, "%s %q: %s%s", name, args, r.stdout, r.stderr)
}

// left waits for processes that are ending, and lists those that live on. What a run has left is
// among our children, since this test is their reaper; what tests have started is not listed.
func left() []string {
	var alive []string
	for range 100 {
		if alive = children(); len(alive) == 0 {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return alive
}

// children are the processes that have become our children.
func children() []string {
	started.Lock()
	defer started.Unlock()
	var alive []string
	lists, _ := filepath.Glob("/proc/self/task/*/children")
	for _, list := range lists {
		text, _ := os.ReadFile(list)
		for _, child := range strings.Fields(string(text)) {
			pid, _ := strconv.Atoi(child)
			// An ended one has no command line.
			if cmdline, _ := os.ReadFile("/proc/" + child + "/cmdline"); len(cmdline) > 0 && !started.pids[pid] {
				alive = append(alive, child+" "+string(bytes.ReplaceAll(cmdline, []byte{0}, []byte{' '})))
			}
		}
	}
	slices.Sort(alive)
	return alive
}

// complaints is a test that has to fail.
type complaints struct {
	testing.TB
	said []string
}

func (c *complaints) Errorf(format string, args ...any) { c.said = append(c.said, format) }

// A guest that is stuck is ended, and nothing of it stays.
func TestStuck(t *testing.T) {
	c := one(t)
	failed := &complaints{TB: t}
	p := startFor(failed, c.command("--", "sleep", "600"), time.Second)
	assert.Equal(t, -9, p.wait())
	assert.Equal(t, []string{"%s was stuck and has been ended"}, failed.said)
	assert.Empty(t, left())
}
