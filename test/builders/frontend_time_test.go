package builders

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"binproxy/test/lib/lab"
	"binproxy/test/lib/need"
	"binproxy/test/lib/registry"
)

// TestFrontendTime reports how long the matrix's Dockerfile takes by the frontend, as a ratio to
// the same BuildKit where the kernel runs the programs by the same emulator. The two take turns in
// one run, without a cache but with the base images fetched. It asserts no time.
func TestFrontendTime(t *testing.T) {
	need.Root(t)
	need.Everything(t)
	project := newProject(t)
	with := matrixBuilders[0] // buildkitd
	source := frontend(t, project.registry)
	one := timed{t: t, how: []string{"--frontend=dockerfile.v0"}}
	other := timed{t: t, how: []string{"--frontend=gateway.v0", "--opt=source=" + source}}
	for _, side := range []struct {
		*timed
		place *lab.Place
	}{{&one, lab.Reference(t, false, registry.Guest)}, {&other, lab.NewPlace(t, false)}} {
		side.daemon = lab.StartBuildkitd(t, side.place, lab.Start{})
		small := filepath.Join(side.place.Dir, "small")
		require.NoError(t, os.Mkdir(small, 0o755))
		text := "FROM --platform=$BUILDPLATFORM " + project.base + " AS native\nRUN true\n" +
			"FROM --platform=linux/" + registry.Guest + " " + project.base + "\nCOPY --from=native /etc/hostname /\nRUN true\n"
		for name, text := range map[string]string{"Dockerfile": text, "sources.list": ""} {
			require.NoError(t, os.WriteFile(filepath.Join(small, name), []byte(text), 0o644))
		}
		side.context = small
		side.build()
		side.context = filepath.Join(side.place.Dir, "context")
		project.write(t, with, side.context)
	}
	const rounds = 3
	var ratios []float64
	for range rounds {
		registered := one.build()
		ours := other.build()
		ratios = append(ratios, ours.Seconds()/registered.Seconds())
		t.Logf("registered emulator %.1f s, frontend %.1f s: %.2f", registered.Seconds(), ours.Seconds(), ratios[len(ratios)-1])
	}
	slices.Sort(ratios)
	t.Logf("median of %d: %.2f", rounds, ratios[rounds/2])
}

// timed builds a context again and again.
type timed struct {
	t       *testing.T
	daemon  *lab.Buildkitd
	how     []string
	context string
}

func (b *timed) build() time.Duration {
	b.t.Helper()
	args := append([]string{"build", "--progress=plain", "--no-cache", "--local=context=" + b.context, "--local=dockerfile=" + b.context,
		"--secret=id=sources,src=" + filepath.Join(b.context, "sources.list")}, b.how...)
	start := time.Now()
	lab.Do(b.t, b.daemon.Client(b.t, args...))
	return time.Since(start)
}
