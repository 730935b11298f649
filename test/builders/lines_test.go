package builders

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
	"binproxy/test/lib/lab"
	"binproxy/test/lib/need"
)

// A line is a RUN line. Lines that call a program by an absolute path from inside a guest program,
// or through a `#!` line, need a link in the program's own place; for the others a farm in PATH is
// enough.
type line struct {
	text    string
	inPlace bool
}

var lines = []line{
	{`sh -c 'echo Hello World !'`, false},
	{`echo Hello World !`, false},
	{`date`, false},
	{`/bin/date`, true},
	{`/bin/bash -c /bin/date`, true},
	{`bash -c /bin/date`, true},
	{`/bin/sh -c /bin/date`, true},
	{`sh -c /bin/date`, true},
	{`bash -c date`, false},
	{`printf 'b\na\n' | sort | tr a-z A-Z`, false},
	{`false; echo $?`, false},
	{`sh -c 'exit 7' || echo $?`, false},
	{`{ sh -c 'kill -TERM $$'; } 2>/dev/null || echo $?`, false},
	{`perl -e 'print "$0 @ARGV\n"' one 'two three'`, false},
	{`/scripts/perl one 'two three'`, true},
	{`/scripts/awk one 'two three'`, true},
	{`uname -a`, false},
	{`uname -r -m`, false},
}

var scripts = map[string]string{
	"perl": "#!/usr/bin/perl -w\nprint \"$0 [@ARGV]\\n\"; print `date`;\n",
	"awk":  "#!/usr/bin/mawk -f\nBEGIN { print ARGC, ARGV[1], ARGV[2]; \"/bin/uname -s\" | getline name; print name }\n",
}

const release = "4.15.0-112-generic"

// ways are the ways to get binproxy into the image, and the lines that then work.
var ways = []struct {
	name, install string
	works         func(line) bool
	guests        []string
}{
	{"in place", `RUN ["/binproxy/binproxy", "install", "/usr/bin"]`, func(line) bool { return true }, guests},
	{"farm", `RUN ["/binproxy/binproxy", "install"]`, func(l line) bool { return !l.inPlace }, guests[:1]},
	{"SHELL", "SHELL [\"/binproxy/sh\", \"-c\"]\nRUN /binproxy/binproxy install --no-sh", func(l line) bool { return strings.HasPrefix(l.text, "uname") }, guests[:1]},
}

// Each line prints what it prints in a native image that the same builder built.
func TestLines(t *testing.T) {
	lab.Builders(t, func(t *testing.T, b lab.Builder) {
		context := buildContext(t)
		native := steady(b, func() map[string]string { return nativeOutputs(t, b, context) })
		for _, way := range ways {
			if b.Name() == "buildah-oci" && way.name != "farm" {
				continue // the format has no SHELL, and otherwise equals buildah-docker
			}
			for _, guest := range way.guests {
				t.Run(guest+" "+way.name, func(t *testing.T) {
					if way.name == "farm" {
						need.Long(t)
					}
					compare(t, guest, way.works, native, steady(b, func() map[string]string {
						return outputs(lab.MustBuild(t, b, lab.Build{
							Context: context,
							Dockerfile: "ARG BASE\nFROM --platform=" + platform(t, guest) + " $BASE\nADD scripts /scripts\n" +
								"ADD bundle /binproxy\n" + way.install + "\n" + runLines(way.works),
							Args: map[string]string{"BASE": b.Base(t, guest)},
						}))
					}))
				})
			}
		}
	})
}

// steady are the outputs of a build: with buildah, of two builds with the same output (see lab's
// Run).
func steady(b lab.Builder, said func() map[string]string) map[string]string {
	if !strings.HasPrefix(b.Name(), "buildah") {
		return said()
	}
	return lab.Steady(said, maps.Equal[map[string]string])
}

func compare(t *testing.T, guest string, works func(line) bool, native, said map[string]string) {
	t.Helper()
	for _, l := range lines {
		if !works(l) {
			continue
		}
		want := native[l.text]
		if strings.HasPrefix(l.text, "uname") {
			want = asGuest(t, want, guest)
		}
		assert.Equal(t, want, said[l.text], l.text)
	}
}

// nativeOutputs are the outputs of the lines in an image of the host's own architecture, without
// binproxy.
func nativeOutputs(t *testing.T, b lab.Builder, context string) map[string]string {
	t.Helper()
	base := b.Base(t, arch.Host().Debian)
	r := lab.MustBuild(t, b, lab.Build{Context: context, Dockerfile: "ARG BASE\nFROM $BASE\nADD scripts /scripts\n" + runLines(func(line) bool { return true }),
		Args: map[string]string{"BASE": base}})
	return outputs(r)
}

func runLines(works func(line) bool) string {
	var b strings.Builder
	for _, l := range lines {
		if works(l) {
			b.WriteString("RUN " + l.text + "\n")
		}
	}
	return b.String()
}

// outputs gives the outputs by RUN line, without what differs from one call to the next.
func outputs(r lab.Result) map[string]string {
	date := regexp.MustCompile(`(?m)^[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d UTC \d{4}$`)
	said := map[string]string{}
	for _, step := range r.Runs() {
		said[strings.TrimPrefix(step.Instruction, "RUN ")] = date.ReplaceAllString(step.Output, "a date")
	}
	said["uname -a"] = regexp.MustCompile(`^Linux \S+ `).ReplaceAllString(said["uname -a"], "Linux node ")
	return said
}

// asGuest turns a native uname's output into the output that the guest should see.
func asGuest(t *testing.T, native, guest string) string {
	t.Helper()
	abi, err := arch.Parse(guest)
	require.NoError(t, err)
	words := strings.Fields(native)
	if len(words) == 2 {
		return release + " " + abi.Machine + "\n"
	}
	require.Greater(t, len(words), 5, native)
	return strings.Join([]string{words[0], words[1], release, "#1 SMP", abi.Machine, words[len(words)-1]}, " ") + "\n"
}

// buildContext has the bundle for all guests, and the scripts.
func buildContext(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "scripts"), 0o755))
	for name, text := range scripts {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "scripts", name), []byte(text), 0o755))
	}
	makeBundle(t, filepath.Join(dir, "bundle"), guests...)
	return dir
}
