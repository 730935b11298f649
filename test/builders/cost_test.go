package builders

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"binproxy/test/lib/host"
	"binproxy/test/lib/lab"
	"binproxy/test/lib/need"
	"binproxy/test/lib/registry"
)

// A load is what is built, again and again, in one daemon: so many builds side by side, each with
// one RUN line that starts so many programs.
type load struct {
	name          string
	builds, execs int
}

var loads = []load{
	{"10,000 execs", 1, 10_000},
	{"8 builds, 500 execs in each", 8, 500},
}

// TestCost prints what each plug costs in BuildKit, as shares of the same build where the kernel
// itself runs arm64's programs (docs/builders.md has the table). Each load is built in turn by all
// daemons. It asserts that the builds succeed, and no time.
func TestCost(t *testing.T) {
	need.Everything(t)
	need.Root(t)
	r := registry.Start(t)
	c := costs{context: host.Home(t)}
	text := fmt.Sprintf("FROM %s\nARG ROUND\nARG EXECS\n", r.Base(t)) +
		"RUN i=0; while [ $i -lt $EXECS ]; do /bin/true || exit; i=$((i+1)); done; echo $ROUND >/round\n"
	require.NoError(t, os.WriteFile(filepath.Join(c.context, "Dockerfile"), []byte(text), 0o644))
	daemons := []daemon{{name: "the kernel", place: lab.Reference(t, false, registry.Guest)}}
	for _, p := range plugs {
		d := daemon{name: p.name, place: lab.NewPlace(t, false)}
		d.start = p.start(t, d.place)
		if p.syntax != nil {
			d.how = []string{"--frontend=gateway.v0", "--opt=source=" + p.syntax(t, r)}
		}
		daemons = append(daemons, d)
	}
	for i := range daemons {
		d := &daemons[i]
		if d.how == nil {
			d.how = []string{"--frontend=dockerfile.v0"}
		}
		d.Buildkitd = lab.StartBuildkitd(t, d.place, d.start)
		c.time(t, d, load{"the images are fetched", 1, 1})
	}
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 8, 2, ' ', 0)
	for _, l := range loads {
		var reference time.Duration
		for i := range daemons {
			took := c.time(t, &daemons[i], l)
			if i == 0 {
				reference = took
			}
			fmt.Fprintf(w, "%s\t%s\t%.2f\t%s\n", l.name, daemons[i].name, took.Seconds()/reference.Seconds(), took.Round(10*time.Millisecond))
		}
	}
	require.NoError(t, w.Flush())
	t.Logf("wall time\n%s", &table)
}

// A daemon is a buildkitd with one plug.
type daemon struct {
	*lab.Buildkitd
	name  string
	place *lab.Place
	start lab.Start
	how   []string // buildctl's words for the frontend
}

type costs struct {
	context string
	rounds  int
}

// time builds the load, and nothing of it comes from the cache.
func (c *costs) time(t *testing.T, d *daemon, l load) time.Duration {
	t.Helper()
	var builds errgroup.Group
	start := time.Now()
	for range l.builds {
		c.rounds++
		cmd := d.Client(t, slices.Concat([]string{"build", "--progress=plain"}, d.how, []string{
			"--local=context=" + c.context, "--local=dockerfile=" + c.context, "--opt=platform=" + registry.Platform(t, registry.Guest).String(),
			fmt.Sprintf("--opt=build-arg:ROUND=%d", c.rounds), fmt.Sprintf("--opt=build-arg:EXECS=%d", l.execs)})...)
		builds.Go(func() error {
			if said, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("%s, by %s: %w\n%s", l.name, d.name, err, said)
			}
			return nil
		})
	}
	require.NoError(t, builds.Wait())
	return time.Since(start)
}
