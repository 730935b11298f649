package lab

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"binproxy/test/lib/modules"
)

// A Buildkitd is a BuildKit daemon in a place: its socket and everything that it writes are in the
// place's directory. It ends with the test.
type Buildkitd struct {
	place    *Place
	buildctl string
	address  string
	kill     func()
}

// StartBuildkitd starts a current buildkitd and waits until it answers. Its RUN lines have the
// machine's network. An ordinary user's buildkitd is in the namespaces of RootlessKit.
func StartBuildkitd(t testing.TB, p *Place, s Start) *Buildkitd {
	t.Helper()
	programs := Executable(t, p, modules.BuildKit)
	b := &Buildkitd{place: p, buildctl: filepath.Join(programs, "buildctl"), address: cmp.Or(s.Address, "unix://"+filepath.Join(p.Dir, "run", "buildkitd"))}
	command := []string{filepath.Join(programs, "buildkitd"), "--addr=" + b.address, "--root=" + filepath.Join(p.Dir, "buildkit"),
		"--containerd-worker=false", "--oci-worker-net=host"}
	if s.Runtime != "" {
		command = append(command, "--oci-worker-binary="+s.Runtime)
	}
	if p.User {
		rootlesskit := filepath.Join(Executable(t, p, modules.RootlessKit), "rootlesskit")
		command = slices.Concat([]string{rootlesskit, "--net=host", "--copy-up=/etc", "--copy-up=/run"}, command, []string{"--rootless"})
	}
	b.start(t, s.Command(t.Context(), p, command...))
	return b
}

// Executable is a directory with a module's programs, where the place's user can execute them:
// others may not have access to the cache.
func Executable(t testing.TB, p *Place, m modules.Module) string {
	t.Helper()
	from := m.Dir(t)
	if !p.User {
		return from
	}
	to := filepath.Join(p.Dir, "programs")
	require.NoError(t, os.CopyFS(to, os.DirFS(from)))
	return to
}

func (b *Buildkitd) start(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	require.NoError(t, cmd.Start())
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	b.kill = func() {
		_ = cmd.Process.Kill() // process 1 of the place: all others end with it
		<-ended
	}
	t.Cleanup(func() {
		b.kill()
		if t.Failed() {
			t.Logf("buildkitd:\n%s", tail(said.String(), 60))
		}
	})
	require.NoError(t, b.await(t, ended), &said)
}

// Kill kills the daemon with all that it runs.
func (b *Buildkitd) Kill() { b.kill() }

// await returns when the daemon answers, has ended, or has used up its time.
func (b *Buildkitd) await(t testing.TB, ended <-chan struct{}) error {
	timeout := time.After(startUp)
	for {
		err := run(b.Client(t, "debug", "workers"))
		if err == nil {
			return nil
		}
		select {
		case <-ended:
			return errors.New("buildkitd ended by itself")
		case <-timeout:
			return fmt.Errorf("buildkitd does not answer: %w", err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Client is a buildctl command for this daemon.
func (b *Buildkitd) Client(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), b.buildctl, append([]string{"--addr", b.address}, args...)...)
	cmd.Env = []string{"HOME=" + t.TempDir(), "PATH=" + placePath}
	return cmd
}

// Do runs the command and gives its standard output. If it fails, the test ends with its output.
func Do(t testing.TB, cmd *exec.Cmd) string {
	t.Helper()
	said, err := output(cmd)
	if err != nil {
		t.Fatal(strings.TrimSpace(err.Error()))
	}
	return said
}
