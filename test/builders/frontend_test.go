package builders

import (
	"bytes"
	"encoding/base64"
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
	"binproxy/test/lib/lab"
	"binproxy/test/lib/need"
	"binproxy/test/lib/registry"
)

// byFrontend builds with a buildkitd without registered emulators, by the frontend's image in a
// registry.
type byFrontend struct {
	t        *testing.T
	registry registry.Registry
	base     string
	place    *lab.Place
	daemon   *lab.Buildkitd
	context  string
	source   string // the frontend's image
}

func newByFrontend(t *testing.T, place *lab.Place) byFrontend {
	t.Helper()
	r := registry.Start(t)
	b := byFrontend{t: t, registry: r, base: r.Base(t), place: place, context: filepath.Join(place.Dir, "context"), source: frontend(t, r)}
	require.NoError(t, os.Mkdir(b.context, 0o755))
	b.daemon = lab.StartBuildkitd(t, place, lab.Start{})
	return b
}

// dockerfile writes the Dockerfile; BASE is the image of two platforms.
func (b byFrontend) dockerfile(text string) {
	b.t.Helper()
	text = strings.ReplaceAll(text, "BASE", b.base)
	require.NoError(b.t, os.WriteFile(filepath.Join(b.context, "Dockerfile"), []byte(text), 0o644))
}

// build builds for the guest, and returns buildctl's output.
func (b byFrontend) build(options ...string) (string, error) {
	args := []string{"build", "--progress=plain", "--frontend=gateway.v0", "--opt=source=" + b.source,
		"--opt=platform=linux/" + registry.Guest, "--local=context=" + b.context, "--local=dockerfile=" + b.context}
	out, err := b.daemon.Client(b.t, append(args, options...)...).CombinedOutput()
	return string(out), err
}

func (b byFrontend) mustBuild(options ...string) string {
	b.t.Helper()
	said, err := b.build(options...)
	require.NoError(b.t, err, said)
	return said
}

// cached reports for each instruction of plain progress whether it came from the cache.
func cached(said string) map[string]bool {
	instruction, numbers := regexp.MustCompile(`(?m)^#(\d+) \[[^]]*\d+/\d+\] (.*)$`), map[string]string{}
	for _, m := range instruction.FindAllStringSubmatch(said, -1) {
		numbers[m[1]] = m[2]
	}
	found := map[string]bool{}
	for number, name := range numbers {
		found[name] = strings.Contains(said, "\n#"+number+" CACHED\n")
	}
	return found
}

// A second build is cached completely, whatever the frontend's image is called. A change of an
// option or of binproxy itself runs the foreign commands again, but not the native ones.
func TestFrontendCache(t *testing.T) {
	need.Long(t)
	b := newByFrontend(t, lab.NewPlace(t, false))
	b.dockerfile("FROM --platform=$BUILDPLATFORM BASE AS native\nRUN uname -m >/native\n" +
		"FROM BASE\nCOPY --from=native /native /\nRUN uname -mr\n")
	const native, foreign = "RUN uname -m >/native", "RUN uname -mr"
	first := b.mustBuild()
	assert.Regexp(t, `(?m)^#\d+ [\d.]+ \S+ aarch64$`, first)
	assert.Equal(t, map[string]bool{native: false, foreign: false}, only(cached(first), native, foreign))

	for _, c := range []struct {
		what    string
		options []string
		source  string
		cached  bool
	}{
		{what: "the same", source: b.source, cached: true},
		{what: "another name", source: b.registry.PushLayout(t, "named/otherwise", lab.Frontend(t, "", registry.Guest)), cached: true},
		{what: "one guest more", source: b.registry.PushLayout(t, "more", lab.Frontend(t, "", registry.Guest, "riscv64")), cached: true},
		{what: "a release", source: b.source, options: []string{"--opt=build-arg:BINPROXY_RELEASE=4.15.0-112-generic"}},
		{what: "another binproxy", source: b.registry.PushLayout(t, "newer", lab.Frontend(t, "newer", registry.Guest))},
		{what: "the first again", source: b.source, cached: true},
	} {
		b.source = c.source
		said := b.mustBuild(c.options...)
		assert.Equal(t, map[string]bool{native: true, foreign: c.cached}, only(cached(said), native, foreign), "%s\n%s", c.what, said)
		if c.options != nil {
			assert.Regexp(t, `(?m)^#\d+ [\d.]+ 4\.15\.0-112-generic aarch64$`, said)
		}
	}
}

func only(of map[string]bool, names ...string) map[string]bool {
	of = maps.Clone(of)
	maps.DeleteFunc(of, func(name string, _ bool) bool { return !slices.Contains(names, name) })
	return of
}

// A user sees the Dockerfile's instructions while it builds, the line of an error, and a line for
// each of binproxy's own errors.
func TestFrontendMessages(t *testing.T) {
	need.Long(t)
	b := newByFrontend(t, lab.NewPlace(t, false))
	b.dockerfile("FROM BASE\nRUN true\nRUN echo before && \\\n  exit 7\n")
	said, err := b.build()
	assert.Equal(t, 1, status(t, err))
	assert.Contains(t, said, "[3/3] RUN echo before &&   exit 7\n")
	assert.Regexp(t, `(?s)Dockerfile:3\n-+\n.*   3 \| >>> RUN echo before && .*   4 \| >>>   exit 7\n`, said)
	assert.Contains(t, said, "exit code: 7")

	// not a route
	said, err = b.build("--opt=build-arg:BINPROXY_ROUTE=nowhere")
	assert.Equal(t, 1, status(t, err))
	assert.Regexp(t, `(?m)^#\d+ [\d.]+ binproxy: .*nowhere`, said)
	assert.Contains(t, said, "exit code: 125")

	b.dockerfile("FROM scratch\nCOPY Dockerfile /\nRUN [\"/Dockerfile\"]\n")
	said, err = b.build("--opt=platform=linux/s390x")
	assert.Equal(t, 1, status(t, err))
	assert.Contains(t, said, "binproxy: no emulator for linux/s390x: this frontend's image has those of arm64")
	assert.Contains(t, said, "Dockerfile:3")
}

// The rest of the Dockerfile's language works as in BuildKit: targets, checks, several platforms
// at once (two foreign ones and the worker's own), attestations, and a root that contains only the
// command's own program.
func TestFrontendLanguage(t *testing.T) {
	need.Long(t)
	b := newByFrontend(t, lab.NewPlace(t, false))
	for _, goarch := range []string{"amd64", "arm64", "arm"} {
		built.Guest(t, goarch, "testdata/says.go", filepath.Join(b.context, "says-"+goarch))
	}
	b.source = b.registry.PushLayout(t, "several", lab.Frontend(t, "", registry.Guest, "arm"))
	b.dockerfile("FROM scratch AS first\nARG TARGETARCH\nCOPY says-$TARGETARCH /says\nRUN [\"/says\", \"two words\"]\n" +
		"FROM first AS last\nRUN [\"/says\", \"last\"]\n")
	platforms := "--opt=platform=linux/amd64,linux/arm64,linux/arm/v7"
	said := b.mustBuild(platforms, "--opt=target=first")
	for _, arch := range []string{"amd64", "arm64", "arm"} {
		assert.Contains(t, said, " "+arch+`: ["two words"]`)
	}
	assert.NotContains(t, said, `"last"`)
	said = b.mustBuild(platforms, "--opt=attest:provenance=mode=max", "--output=type=image,push=true,name="+b.registry.Host+"/several-built")
	assert.Contains(t, said, ` arm: ["last"]`)
	for _, port := range []string{"amd64", "arm64", "armhf"} {
		assertClean(t, b.registry.Image(t, b.registry.Host+"/several-built", port))
	}

	b.dockerfile("from BASE\nRUN true\n")
	said = b.mustBuild("--opt=requestid=frontend.lint", "--opt=frontend.caps=moby.buildkit.frontend.subrequests")
	assert.Contains(t, said, "ConsistentInstructionCasing")
	assert.Contains(t, said, "Dockerfile:1")
}

// The layout itself works as the frontend's image, without a registry, as a named context of the
// build. A syntax line can name the image as well, with the daemon's own frontend.
func TestFrontendNamed(t *testing.T) {
	need.Long(t)
	b := newByFrontend(t, lab.NewPlace(t, false))
	b.dockerfile("FROM BASE\nRUN uname -m\n")
	pushed := b.source
	b.source = "unheard.example/of/binproxy"
	dir := lab.Frontend(t, "", registry.Guest)
	hash, err := registry.Latest(t, dir).Digest()
	require.NoError(t, err)
	assert.Contains(t, b.mustBuild("--oci-layout=store="+dir, "--opt=context:"+b.source+"=oci-layout://store@"+hash.String()), " aarch64\n")

	b.dockerfile("# syntax=" + pushed + "\nFROM BASE\nRUN uname -s -m\n")
	cmd := b.daemon.Client(t, "build", "--progress=plain", "--frontend=dockerfile.v0", "--opt=platform=linux/arm64",
		"--local=context="+b.context, "--local=dockerfile="+b.context)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Contains(t, string(out), " Linux aarch64\n")
}

// Options reach binproxy run: the route, the summary, and twins from a named context.
func TestFrontendOptions(t *testing.T) {
	need.Long(t)
	b := newByFrontend(t, lab.NewPlace(t, false))
	b.dockerfile("FROM BASE\nRUN seq 1000 | sort -r | tail -n 1\n")
	said := b.mustBuild("--opt=build-arg:BINPROXY_SUMMARY=1")
	assert.Contains(t, said, "sort: no twins are given")

	twins := filepath.Join(b.place.Dir, "twins")
	out, err := exec.Command(built.Binproxy(t), "twin", "pack", "--for", registry.Guest, "-o", twins, "sort").CombinedOutput()
	require.NoError(t, err, "%s", out)
	said = b.mustBuild("--opt=build-arg:BINPROXY_SUMMARY=1", "--local=twins="+twins, "--opt=context:twins=local:twins", "--opt=build-arg:BINPROXY_TWINS=twins")
	assert.Contains(t, said, "twins: 1 programs ran as twins")

	b.dockerfile("FROM BASE\nRUN grep TracerPid /proc/self/status\n")
	assert.Regexp(t, `TracerPid:\s+[1-9]`, b.mustBuild(), "supervise")
	assert.Regexp(t, `TracerPid:\s+0\b`, b.mustBuild("--opt=build-arg:BINPROXY_ROUTE=preload"))
}

// A platform that the worker's kernel runs is left alone, unless the user says otherwise.
func TestFrontendRegistered(t *testing.T) {
	need.Long(t)
	b := newByFrontend(t, lab.Reference(t, false, registry.Guest))
	b.dockerfile("FROM BASE\nRUN uname -m; ls -A /dev/.binproxy || echo left alone\n")
	said := b.mustBuild()
	assert.Contains(t, said, " aarch64\n")
	assert.Contains(t, said, " left alone\n")
	assert.Empty(t, warnings(t, b.mustBuild("--progress=rawjson")))
	assert.Contains(t, warnings(t, b.mustBuild("--progress=rawjson", "--opt=build-arg:BINPROXY_RELEASE=4.15.0")), "no BINPROXY_ option reaches")
	said = b.mustBuild("--opt=build-arg:BINPROXY_ALWAYS=1")
	assert.Contains(t, said, " aarch64\n")
	assert.Contains(t, said, " binproxy.conf\n")
}

// warnings returns the texts of the warnings of raw progress. Clients other than buildctl show
// them at the end of a build.
func warnings(t *testing.T, said string) string {
	t.Helper()
	var texts []string
	for _, m := range regexp.MustCompile(`"short":"([^"]+)"`).FindAllStringSubmatch(said, -1) {
		text, err := base64.StdEncoding.DecodeString(m[1])
		require.NoError(t, err)
		texts = append(texts, string(text))
	}
	return strings.Join(texts, "\n")
}

// Without the frontend the same daemon does not run the guest's programs: so the other tests show
// the frontend's effect.
func TestFrontendIsNeeded(t *testing.T) {
	need.Long(t)
	b := newByFrontend(t, lab.NewPlace(t, false))
	b.dockerfile("FROM BASE\nRUN true\n")
	var out bytes.Buffer
	cmd := b.daemon.Client(t, "build", "--progress=plain", "--frontend=dockerfile.v0", "--opt=platform=linux/arm64",
		"--local=context="+b.context, "--local=dockerfile="+b.context)
	cmd.Stdout, cmd.Stderr = &out, &out
	require.Error(t, cmd.Run(), &out)
	assert.Contains(t, out.String(), "exec format error")
}
