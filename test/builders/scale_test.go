package builders

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
	"binproxy/test/lib/built"
	"binproxy/test/lib/lab"
	"binproxy/test/lib/need"
	"binproxy/test/lib/registry"
)

// A fleet is several buildkitds without anything registered, a registry that they share, and a
// Dockerfile whose commands ask the test whether to go on.
type fleet struct {
	t        *testing.T
	registry registry.Registry
	source   string // the frontend's image
	context  string
	gate     *gate
}

var spread = []string{"linux/amd64", "linux/arm64", "linux/arm/v7"}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	need.Given(t, arch.Host().GOARCH == "amd64", "a host of amd64: one of the platforms is native")
	r := registry.Start(t)
	f := &fleet{t: t, registry: r, context: t.TempDir(), gate: newGate(t)}
	f.source = r.PushLayout(t, "several", lab.Frontend(t, "", registry.Guest, "arm"))
	for _, goarch := range []string{"amd64", "arm64", "arm"} {
		built.Guest(t, goarch, "testdata/step.go", filepath.Join(f.context, "step-"+goarch))
	}
	text := "FROM scratch AS first\nARG TARGETARCH\nARG ADDRESS\nCOPY step-$TARGETARCH /step\nRUN [\"/step\", \"first\"]\n" +
		"FROM first\nARG ADDRESS\nRUN [\"/step\", \"second\"]\n"
	require.NoError(t, os.WriteFile(filepath.Join(f.context, "Dockerfile"), []byte(text), 0o644))
	return f
}

// worker starts a buildkitd at a port of the loopback.
func (f *fleet) worker() *lab.Buildkitd {
	f.t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(f.t, err)
	address := "tcp://" + free.Addr().String()
	require.NoError(f.t, free.Close())
	return lab.StartBuildkitd(f.t, lab.NewPlace(f.t, false), lab.Start{Address: address})
}

// build builds for the platforms on a worker. It takes up every worker's cache, and leaves its own
// under this name, "" for nowhere.
func (f *fleet) build(worker *lab.Buildkitd, cache string, platforms []string, options ...string) (string, error) {
	args := []string{"build", "--progress=plain", "--frontend=gateway.v0", "--opt=source=" + f.source,
		"--opt=build-arg:ADDRESS=" + f.gate.address, "--opt=platform=" + strings.Join(platforms, ","),
		"--local=context=" + f.context, "--local=dockerfile=" + f.context,
		"--import-cache=type=registry,ref=" + f.registry.Host + "/cache:one", "--import-cache=type=registry,ref=" + f.registry.Host + "/cache:two"}
	if cache != "" {
		args = append(args, "--export-cache=type=registry,mode=max,ref="+f.registry.Host+"/cache:"+cache)
	}
	start := time.Now()
	out, err := worker.Client(f.t, append(args, options...)...).CombinedOutput()
	f.t.Logf("%s on worker %s: %.0f s", strings.Join(platforms, ", "), cache, time.Since(start).Seconds())
	return string(out), err
}

func (f *fleet) mustBuild(worker *lab.Buildkitd, cache string, platforms []string, options ...string) string {
	f.t.Helper()
	said, err := f.build(worker, cache, platforms, options...)
	require.NoError(f.t, err, said)
	return said
}

// A build for three platforms is spread over two workers that share only a registry. One of them
// is killed within a RUN: that build fails, with the worker's error, and the other one is not
// affected. The second try runs on the worker that is left. It takes up what either worker had
// cached, and a third, new worker then has nothing to run at all.
func TestFleet(t *testing.T) {
	need.Long(t)
	f := newFleet(t)
	one, two := f.worker(), f.worker()
	f.mustBuild(one, "one", spread[:2], "--opt=target=first")
	f.mustBuild(two, "two", spread[2:], "--opt=target=first")
	assert.ElementsMatch(t, []string{"amd64 first", "arm64 first", "arm first"}, f.gate.passed())

	f.gate.hold("arm second")
	var failed error
	var said string
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		said, failed = f.build(two, "", spread[2:])
	}()
	f.mustBuild(one, "one", spread[:2])
	assert.ElementsMatch(t, []string{"amd64 second", "arm64 second"}, f.gate.passed())
	f.gate.await(ended)
	two.Kill()
	<-ended
	require.Error(t, failed, said)
	t.Logf("the killed worker's build says: %s", said[strings.LastIndex(strings.TrimSpace(said), "\n")+1:])
	assert.Regexp(t, `rpc error: code = Unavailable|connection (refused|reset)|EOF`, said)

	f.gate.open()
	image := f.registry.Host + "/built"
	said = f.mustBuild(one, "one", spread, "--output=type=image,push=true,name="+image)
	assert.Equal(t, []string{"arm second"}, f.gate.passed(), "the second try runs only this\n%s", said)
	for _, port := range []string{"amd64", "arm64", "armhf"} {
		got := f.registry.Image(t, image, port)
		assert.Contains(t, matrixBuilders[0].files(got), "/second", port)
		assertClean(t, got)
	}

	said = f.mustBuild(f.worker(), "", spread)
	assert.Empty(t, f.gate.passed(), "a new worker runs nothing\n%s", said)
}

// A gate lets the commands of a build pass, but for one that the test holds.
type gate struct {
	t       *testing.T
	address string

	sync.Mutex
	asked  []string
	held   string
	opened chan struct{} // closed when nothing is held any more
	came   chan struct{} // closed when the held one has come
}

func newGate(t *testing.T) *gate {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	g := &gate{t: t, address: l.Addr().String(), opened: make(chan struct{}), came: make(chan struct{})}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go g.answer(c)
		}
	}()
	return g
}

func (g *gate) answer(c net.Conn) {
	defer c.Close()
	name, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return
	}
	name = strings.TrimSpace(name)
	g.Lock()
	held := g.held == name
	if !held {
		g.asked = append(g.asked, name)
	}
	g.Unlock()
	if held {
		close(g.came)
		<-g.opened // its worker is killed meanwhile
		return
	}
	fmt.Fprint(c, "go on")
}

// hold makes the gate hold this command, which must come once.
func (g *gate) hold(name string) {
	g.Lock()
	defer g.Unlock()
	g.held = name
}

// await returns when the held command has come.
func (g *gate) await(ended <-chan struct{}) {
	g.t.Helper()
	select {
	case <-g.came:
	case <-ended:
		g.t.Fatal("the build ended before its command was held")
	case <-time.After(5 * time.Minute):
		g.t.Fatal("the command to hold does not come")
	}
}

func (g *gate) open() {
	g.hold("")
	close(g.opened)
}

// passed has the commands that have passed since it was last called.
func (g *gate) passed() []string {
	g.Lock()
	defer g.Unlock()
	passed := g.asked
	g.asked = nil
	return passed
}
