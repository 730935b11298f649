package builders

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/test/lib/built"
	"binproxy/test/lib/debs"
	"binproxy/test/lib/lab"
	"binproxy/test/lib/modules"
	"binproxy/test/lib/need"
	"binproxy/test/lib/registry"
)

// mirrored are the images that the cases have in their mirror of Docker's registry. Here all of
// them are one image of busybox.
var mirrored = []string{"library/busybox:latest", "library/alpine:latest", "library/busybox:stable-musl", "amd64/debian:bullseye-20230109-slim", "tonistiigi/hellofs:latest"}

// ourImage is the frontend's image there.
const ourImage = "cases/frontend:latest"

// BuildKit's own integration cases of its Dockerfile frontend that have a RUN line, for arm64.
// Each has the same outcome by our frontend, with a daemon on which nothing is registered, as by
// the daemon's own frontend where the kernel has the emulator registered. The file of cases says
// which pass, which of these need an emulator, and why the others are left out.
func TestBuildKitCases(t *testing.T) {
	need.Everything(t)
	k := newCases(t)
	ours := k.run(lab.NewPlace(t, false), ourImage)
	reference := k.run(lab.Reference(t, false, registry.Guest), "")
	without := k.run(lab.NewPlace(t, false), "")
	for _, name := range slices.Sorted(maps.Keys(ours)) {
		t.Logf("%-60s frontend %s, registered %s, without %s", name, ours[name], reference[name], without[name])
		kind := k.kinds[name]
		if kind == machine {
			continue
		}
		assert.Equal(t, reference[name], ours[name], name)
		assert.Equal(t, kind != leftOut, ours[name] == passed, "%s passes", name)
		assert.Equal(t, kind == runsNothing, without[name] == passed, "%s passes without an emulator", name)
	}
}

// A kind of case.
const (
	runsGuest   = "runs"    // it runs programs of the guest
	runsNothing = "nothing" // it runs none, in spite of a RUN line
	leftOut     = "out"     // it does not pass, whatever runs the guest's programs
	machine     = "machine" // it asks for more than the machine grants outside a user namespace
	apart       = "apart"   // it is not run
)

// passed is what a test program calls a test that passed.
const passed = "PASS"

// cases are BuildKit's test program and what it needs.
type cases struct {
	t                 *testing.T
	program, registry string
	images            []string
	kinds             map[string]string
}

func newCases(t *testing.T) *cases {
	t.Helper()
	root, err := built.Root()
	require.NoError(t, err)
	version := exec.Command("go", "list", "-m", "-f", "{{.Version}}", modules.BuildKit.Path)
	version.Dir = filepath.Join(root, "frontend")
	require.Equal(t, modules.BuildKit.Version, strings.TrimSpace(lab.Do(t, version)), "the frontend's BuildKit is the daemon's")

	r := registry.Start(t)
	k := &cases{t: t, kinds: kinds(t), program: modules.BuildKit.Tests(t, "frontend/dockerfile", "testdata/buildkit/foreign_test.go")}
	k.registry = filepath.Join(debs.Unpacked(t, lab.Suite, "docker-registry"), "usr/bin/docker-registry")
	r.Busybox(t, mirrored...)
	r.PushLayout(t, ourImage, lab.Frontend(t, "", registry.Guest))
	for _, name := range append(slices.Clone(mirrored), ourImage) {
		k.images = append(k.images, r.Host+"/"+name)
	}
	return k
}

// kinds reads which cases run from the file of cases: name, kind, and the reason for a kind
// other than runsGuest.
func kinds(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("testdata/buildkit/cases")
	require.NoError(t, err)
	found := map[string]string{}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] == "#" {
			continue
		}
		require.GreaterOrEqual(t, len(fields), 2, line)
		require.Contains(t, []string{runsGuest, runsNothing, leftOut, machine, apart}, fields[1], line)
		require.Equal(t, fields[1] != runsGuest, len(fields) > 2, "a reason: %s", line)
		require.NotContains(t, found, fields[0])
		if fields[1] != apart {
			found[fields[0]] = fields[1]
		}
	}
	return found
}

// run runs the cases in a place, by a frontend's image or, if that is empty, by the daemon's own.
// It returns each case's outcome.
func (k *cases) run(place *lab.Place, frontend string) map[string]string {
	k.t.Helper()
	tools := filepath.Join(place.Dir, "tools")
	require.NoError(k.t, os.Mkdir(tools, 0o755))
	require.NoError(k.t, os.Symlink(k.registry, filepath.Join(tools, "registry")))
	var names []string
	for name := range k.kinds {
		name, _, _ = strings.Cut(name, "/")
		names = append(names, regexp.QuoteMeta(name))
	}
	start := lab.Start{Path: tools + ":" + modules.BuildKit.Dir(k.t)}
	cmd := start.Command(k.t.Context(), place, k.program, "-test.v", "-test.timeout=30m",
		"-test.run=^TestIntegration$/^("+strings.Join(names, "|")+")$/^worker=oci$")
	mirror := filepath.Join(place.Dir, "mirror")
	require.NoError(k.t, os.Mkdir(mirror, 0o700))
	cmd.Env = append(cmd.Env, "BUILDKIT_REGISTRY_MIRROR_DIR="+mirror, "CASES_PLATFORM=linux/"+registry.Guest,
		"CASES_FRONTEND="+frontend, "CASES_IMAGES="+strings.Join(k.images, " "))
	said, _ := cmd.CombinedOutput() // fails if a case does
	outcomes := map[string]string{}
	for _, m := range outcome.FindAllStringSubmatch(string(said), -1) {
		outcomes[m[2]+m[3]] = m[1]
		if m[1] == "FAIL" && k.kinds[m[2]+m[3]] != leftOut {
			k.t.Logf("%s:\n%s", m[2]+m[3], wrote(string(said), m[2]))
		}
	}
	require.Equal(k.t, slices.Sorted(maps.Keys(k.kinds)), slices.Sorted(maps.Keys(outcomes)),
		"the cases of the file, and those that ran: %s", said[max(0, len(said)-20000):])
	return outcomes
}

// outcome is a line of a test program: an outcome, a case's name, and what is after the frontend.
var outcome = regexp.MustCompile(`(?m)^ *--- (PASS|FAIL|SKIP): TestIntegration/([^/\s]+)/worker=oci/frontend=foreign((?:/[\w.]+=\w+)*) `)

// wrote is what a case, which ran beside others, has written to a test program's output.
func wrote(said, name string) string {
	var own strings.Builder
	is := false
	for line := range strings.Lines(said) {
		if marker, ok := strings.CutPrefix(line, "=== "); ok {
			is = strings.Contains(marker, " TestIntegration/"+name+"/")
			continue
		}
		if is {
			own.WriteString(line)
		}
	}
	return own.String()
}
