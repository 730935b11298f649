package lab

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"binproxy/test/lib/need"
)

// An Engine is a Docker engine: a running one, or a private one that lives as long as this
// process.
type Engine struct {
	Private bool

	client   string // a docker client
	buildkit string // one that can build with BuildKit, "" where none can
	host     string // DOCKER_HOST, "" for the user's own
	close    func()
	bases    bases
}

//go:embed engine.sh
var engineScript string

//go:embed runtime.sh
var namespaceRuntime string

// startUp is how long a private engine may take until it answers.
const startUp = 60 * time.Second

// StartEngine finds a Docker engine that answers, or starts a private one: with its own data root,
// exec root and socket, without a bridge and iptables. Close ends it; so does any end of this
// process. A private one needs root.
func StartEngine(ctx context.Context, progress io.Writer) (*Engine, error) {
	clients := clients()
	if len(clients) == 0 {
		return nil, fmt.Errorf("no docker in PATH (package docker.io): %w", exec.ErrNotFound)
	}
	e := &Engine{client: clients[0], close: func() {}}
	if e.probe(ctx) != nil {
		if err := e.startPrivate(ctx, progress); err != nil {
			return nil, err
		}
	}
	e.buildkit = withBuildKit(ctx, clients)
	return e, nil
}

// Close ends a private engine, and leaves any other one alone.
func (e *Engine) Close() { e.close() }

var engineOnce = sync.OnceValues(func() (*Engine, error) {
	e, err := StartEngine(context.Background(), os.Stderr)
	if err == nil {
		atEnd(e.Close)
	}
	return e, err
})

// SharedEngine is one engine for all tests of the package, which Main ends.
func SharedEngine(t testing.TB) *Engine {
	t.Helper()
	need.Program(t, "docker", "docker.io")
	e, err := engineOnce()
	if errors.Is(err, errNotRoot) {
		need.Given(t, false, "a Docker engine that answers, or root to start one")
	}
	if err != nil {
		t.Fatal(err)
	}
	return e
}

var errNotRoot = errors.New("no Docker engine answers, and only root can start a private one")

// clients lists the docker clients in PATH. There may be several, with different abilities.
func clients() []string {
	var found []string
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/bin") {
		path, err := exec.LookPath(filepath.Join(dir, "docker"))
		if err == nil && !strings.Contains(strings.Join(found, "\n"), path) {
			found = append(found, path)
		}
	}
	return found
}

// withBuildKit is the first client that can build with BuildKit, "" if none can.
func withBuildKit(ctx context.Context, clients []string) string {
	for _, client := range clients {
		if buildsWithBuildKit(ctx, client) {
			return client
		}
	}
	return ""
}

// buildsWithBuildKit reports whether the client can: older ones do it themselves, from 23 on a
// plugin does.
func buildsWithBuildKit(ctx context.Context, client string) bool {
	version, err := output(exec.CommandContext(ctx, client, "--version"))
	if err != nil {
		return false
	}
	_, version, _ = strings.Cut(version, "version ")
	major, _, _ := strings.Cut(version, ".")
	if n, err := strconv.Atoi(major); err == nil && n < 23 {
		return true
	}
	return exec.CommandContext(ctx, client, "buildx", "version").Run() == nil
}

// Command is a docker command for this engine.
func (e *Engine) Command(ctx context.Context, args ...string) *exec.Cmd {
	return e.with(ctx, e.client, args...)
}

func (e *Engine) with(ctx context.Context, client string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, client, args...)
	cmd.Env = os.Environ()
	if e.host != "" {
		cmd.Env = append(cmd.Env, "DOCKER_HOST="+e.host, "DOCKER_CONTEXT=")
	}
	return cmd
}

func (e *Engine) probe(ctx context.Context) error {
	return run(e.Command(ctx, "version", "--format", "{{.Server.Version}}"))
}

func (e *Engine) startPrivate(ctx context.Context, progress io.Writer) error {
	if os.Geteuid() != 0 {
		return errNotRoot
	}
	dir, err := os.MkdirTemp("", "engine-")
	if err != nil {
		return err
	}
	fmt.Fprintln(progress, "lab: no Docker engine answers; starting a private one")
	cmd := exec.Command("unshare", "--mount", "--propagation", "slave", "--pid", "--fork", "--kill-child", "--mount-proc",
		"bash", "-c", engineScript, "engine.sh", dir)
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	return e.run(ctx, cmd, dir, map[string]any{})
}

// StartEngineIn starts a private engine in a place. In a place of reference its classic builder
// has no network. The engine ends with the test.
func StartEngineIn(t testing.TB, p *Place, s Start) *Engine {
	t.Helper()
	need.Program(t, "dockerd", "docker.io")
	dir := filepath.Join(p.Dir, "run", "engine-"+filepath.Base(p.Dir))
	require.NoError(t, os.Mkdir(dir, 0o755))
	if p.Registered() && s.Runtime == "" {
		s.Runtime = filepath.Join(p.Dir, "runtime.sh")
		require.NoError(t, os.WriteFile(s.Runtime, []byte(namespaceRuntime), 0o755))
	}
	configuration := map[string]any{}
	if s.Runtime != "" {
		configuration["runtimes"] = map[string]any{"given": map[string]string{"path": s.Runtime}}
		configuration["default-runtime"] = "given"
		// dockerd's BuildKit takes the first runc in PATH, whatever the default is
		first := filepath.Join(p.Dir, "path")
		require.NoError(t, os.Mkdir(first, 0o755))
		require.NoError(t, os.Symlink(s.Runtime, filepath.Join(first, "runc")))
		s.Path = strings.TrimSuffix(first+":"+s.Path, ":")
	}
	e := &Engine{client: need.Program(t, "docker", "docker.io"), buildkit: withBuildKit(t.Context(), clients())}
	cmd := Start{Path: s.Path}.Command(background(), p, append([]string{"bash", "-c", engineScript, "engine.sh", dir}, s.Before...)...)
	require.NoError(t, e.run(t.Context(), cmd, dir, configuration))
	t.Cleanup(e.Close)
	return e
}

// run runs engine.sh, and returns when the engine answers.
func (e *Engine) run(ctx context.Context, script *exec.Cmd, dir string, configuration map[string]any) error {
	text, err := json.Marshal(configuration)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "daemon.json"), text, 0o644); err != nil {
		return err
	}
	if script.SysProcAttr == nil {
		script.SysProcAttr = &syscall.SysProcAttr{}
	}
	script.SysProcAttr.Setsid = true // we handle Ctrl-C
	var said bytes.Buffer
	script.Stderr = &said
	alive, err := script.StdinPipe()
	if err != nil {
		return err
	}
	if err := script.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		_ = script.Wait()
		close(ended)
	}()
	e.Private, e.host = true, "unix://"+dir+"/sock"
	e.close = func() {
		alive.Close()
		<-ended
	}
	if err := e.await(ctx, ended); err != nil {
		e.Close()
		return fmt.Errorf("the private Docker engine does not answer: %w\n%s", err, said.String())
	}
	return nil
}

// await returns when the engine answers, has ended, or has used up its time.
func (e *Engine) await(ctx context.Context, ended <-chan struct{}) error {
	timeout := time.After(startUp)
	for {
		err := e.probe(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ended:
			return errors.New("it ended by itself")
		case <-ctx.Done():
			return ctx.Err()
		case <-timeout:
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
}
