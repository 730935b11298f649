package builders

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
	"binproxy/test/lib/lab"
)

const (
	from         = "ARG BASE\nFROM --platform=linux/arm64 $BASE\n"
	add          = "ADD bundle /binproxy\n"
	install      = `RUN ["/binproxy/binproxy", "install"]` + "\n"
	installThere = `RUN ["/binproxy/binproxy", "install", "/usr/bin"]` + "\n"
	clean        = `RUN ["/binproxy/binproxy", "clean"]` + "\n"
)

func build(t *testing.T, b lab.Builder, context, dockerfile string) lab.Build {
	t.Helper()
	return lab.Build{Context: context, Dockerfile: dockerfile, Args: map[string]string{"BASE": b.Base(t, "arm64")}}
}

// Without binproxy the same lines do not run: what the other tests show is binproxy's doing.
func TestNothingRegistered(t *testing.T) {
	entries, _ := filepath.Glob("/proc/sys/fs/binfmt_misc/qemu-*")
	for _, entry := range entries {
		if text, _ := os.ReadFile(entry); strings.HasPrefix(string(text), "enabled") && strings.HasSuffix(entry, "aarch64") {
			t.Skip("needs a host that has no binfmt_misc entry for arm64")
		}
	}
	b := lab.Classic(t)
	r := b.Build(t, build(t, b, t.TempDir(), from+"RUN date\n"))
	assert.Empty(t, r.Image)
	assert.Contains(t, r.Log, "exec format error")
}

// A line that fails fails the build, with the line's status.
func TestFailingLines(t *testing.T) {
	lab.Builders(t, func(t *testing.T, b lab.Builder) {
		context := buildContext(t)
		for line, status := range map[string]int{
			"sh -c 'exit 3'":          3,
			"no-such-command":         127,
			"false | true; false":     1,
			"/scripts":                126,
			"bash -c 'kill -KILL $$'": 137,
		} {
			r := b.Build(t, build(t, b, context, from+"ADD scripts /scripts\n"+add+install+"RUN "+line+"\nRUN echo not reached\n"))
			assert.Empty(t, r.Image, line)
			assert.Equal(t, status, r.Status, "%s\n%s", line, r.Log)
			assert.NotContains(t, outputs(r)["echo not reached"], "not reached", line)
		}
	})
}

// The finished image runs: its CMD in either form, and a command of the user's.
func TestFinishedImage(t *testing.T) {
	lab.Builders(t, func(t *testing.T, b lab.Builder) {
		context := buildContext(t)
		const some = `RUN ["/binproxy/binproxy", "install", "/usr/bin/bash", "/usr/bin/date", "/usr/bin/uname"]` + "\n"
		const cmd = "CMD [\"bash\", \"-c\", \"/bin/uname -rm; date -u -d @0 +%F\"]\n"
		inPlace := lab.MustBuild(t, b, build(t, b, context, from+add+some+cmd)).Image
		said, status := b.Run(t, inPlace)
		assert.Equal(t, 0, status, said)
		assert.Equal(t, release+" aarch64\n1970-01-01\n", said)

		farm := lab.MustBuild(t, b, build(t, b, context, from+add+install+"CMD uname -m; exit 5\n")).Image
		said, status = b.Run(t, farm)
		assert.Equal(t, 5, status, said)
		assert.Equal(t, "aarch64\n", said)

		// A child: the first process of a container has no default action of SIGTERM.
		said, status = b.Run(t, farm, "/bin/sh", "-c", "perl -e '$|=1; print \"$]\\n\"; kill 15, $$'; exit $?")
		assert.Equal(t, 143, status, said)
		assert.True(t, strings.HasPrefix(said, "5.0"), said)
	})
}

// binproxy is the container's first process: it runs whatever CMD says, reaps what is left behind,
// and hands on the signal of `docker stop`.
func TestEntrypoint(t *testing.T) {
	b, engine := lab.Classic(t), lab.SharedEngine(t)
	image := lab.MustBuild(t, b, build(t, b, buildContext(t), from+add+"ENTRYPOINT [\"/binproxy/binproxy\", \"run\", \"--\"]\nCMD [\"/bin/uname\", \"-rm\"]\n")).Image
	for _, c := range []struct {
		command []string
		want    string
		status  int
	}{
		{nil, release + " aarch64\n", 0},
		{[]string{"sh", "-c", "date -u -d @0 +%F; exit 7"}, "1970-01-01\n", 7},
		{[]string{"sh", "-c", "(sleep 0.1 &); sleep 1; cat /proc/1/comm; grep -l '^State:.Z' /proc/[0-9]*/status"}, "binproxy\n", 1},
		{[]string{"/no/such/command"}, "", 127},
	} {
		said, status := b.Run(t, image, c.command...)
		assert.Equal(t, c.want, said, c.command)
		assert.Equal(t, c.status, status, c.command)
	}
	do := func(args ...string) string {
		out, err := engine.Command(t.Context(), args...).CombinedOutput()
		require.NoError(t, err, string(out))
		return strings.TrimSpace(string(out))
	}
	id := do("run", "-d", "--platform", platform(t, "arm64"), "--network", "none", image, "sh", "-c", "echo ready; sleep 100")
	require.Eventually(t, func() bool { return do("logs", id) == "ready" }, time.Minute, 50*time.Millisecond)
	do("stop", "-t", "60", id)
	assert.Equal(t, "143", do("inspect", "-f", "{{.State.ExitCode}}", id))
	do("rm", id)
}

// After clean the image's files are those of its base, to the last mode, owner and time.
func TestClean(t *testing.T) {
	lab.Builders(t, func(t *testing.T, b lab.Builder) {
		dockerfile := from + add + installThere + "RUN date && perl -e1\n" + clean
		before := b.Tree(t, b.Base(t, "arm64"))
		after := b.Tree(t, lab.MustBuild(t, b, build(t, b, buildContext(t), dockerfile)).Image)
		assert.Greater(t, len(after), 1000)
		assert.Empty(t, before.Without(lab.BuilderNoise...).Diff(after.Without(lab.BuilderNoise...)))
	}, "buildah-oci") // its files are those of buildah-docker
}

// Dockerfile.example, as it is. The README shows what BuildKit says then, on a day of its own.
func TestExample(t *testing.T) {
	text, err := os.ReadFile("../../Dockerfile.example")
	require.NoError(t, err)
	lab.EveryBuilder(t, func(t *testing.T, b lab.Builder) {
		r := lab.MustBuild(t, b, build(t, b, buildContext(t), string(text)))
		runs := r.Runs()
		require.Len(t, runs, 2, r.Log)
		assert.Regexp(t, `(?s)^\w{3} \w{3} .* UTC \d{4}\nLinux \S+ 4\.15\.0-112-generic #1 SMP aarch64 GNU/Linux\n12\.\d+\n$`, runs[1].Output)
		if b.Name() == "buildkit" {
			commands, instruction, said := readmeExample(t)
			for _, command := range commands {
				assert.Contains(t, string(text), "#   "+command+"\n")
			}
			assert.Equal(t, runs[1].Instruction, instruction)
			assert.Equal(t, withoutDay(runs[1].Output), withoutDay(said))
		}
	})
}

// readmeExample is the README's first example: the commands, the instruction that it shows of what
// the builder says, and the output of that.
func readmeExample(t *testing.T) (commands []string, instruction, said string) {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	_, example, _ := strings.Cut(string(text), "```console\n")
	example, _, found := strings.Cut(example, "```\n")
	require.True(t, found)
	step, output := regexp.MustCompile(`^#\d+ \[\d/\d\] (.*)\n$`), regexp.MustCompile(`^#\d+ \d+\.\d+ (.*\n)$`)
	for line := range strings.Lines(example) {
		if command, is := strings.CutPrefix(line, "$ "); is {
			commands = append(commands, strings.TrimSpace(command))
		} else if m := step.FindStringSubmatch(line); m != nil {
			instruction = m[1]
		} else if m := output.FindStringSubmatch(line); m != nil {
			said += m[1]
		}
	}
	require.Len(t, commands, 2)
	return commands, instruction, said
}

// withoutDay leaves out what another day, container or point release changes in what
// Dockerfile.example says.
func withoutDay(said string) string {
	said = regexp.MustCompile(`^\w{3} \w{3} .* UTC \d{4}\n`).ReplaceAllString(said, "DATE\n")
	said = regexp.MustCompile(`\nLinux \S+ `).ReplaceAllString(said, "\nLinux NODE ")
	return regexp.MustCompile(`\n12\.\d+\n`).ReplaceAllString(said, "\n12.N\n")
}

// With BuildKit the bundle can be mounted for the lines that need it: no layer has anything of it
// but, with Docker 20.10, the empty directory that it was mounted on.
func TestMount(t *testing.T) {
	b := lab.BuildKit(t)
	dockerfile := "ARG BASE\nFROM --platform=linux/arm64 $BASE AS routed\n" + add + "RUN [\"/binproxy/binproxy\", \"install\", \"--no-sh\"]\n" +
		"FROM --platform=linux/arm64 $BASE\n" +
		"RUN --mount=from=routed,source=/binproxy,target=/binproxy [\"/binproxy/sh\", \"-c\", \"uname -m; perl -e 'print 6*7' | cat; echo\"]\n"
	r := lab.MustBuild(t, b, build(t, b, buildContext(t), dockerfile))
	runs := r.Runs()
	require.Len(t, runs, 2, r.Log)
	assert.Equal(t, arch.Get("aarch64").Machine+"\n42\n", runs[1].Output)
	before, after := b.Tree(t, b.Base(t, "arm64")), b.Tree(t, r.Image)
	changed := before.Without(lab.BuilderNoise...).Changed(after.Without(lab.BuilderNoise...))
	assert.Subset(t, []string{"/binproxy"}, changed)
}
