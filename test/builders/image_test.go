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
	"binproxy/test/lib/need"
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

// Without binproxy the same lines do not run, so the other tests show what binproxy does.
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

// A failing line fails the build, with the line's status.
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

// binproxy is the container's first process: it runs any CMD, reaps orphans, and passes on the
// signal of `docker stop`.
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

// After clean the image's files are those of its base, down to each mode, owner and time.
func TestClean(t *testing.T) {
	lab.Builders(t, func(t *testing.T, b lab.Builder) {
		dockerfile := from + add + installThere + "RUN date && perl -e1\n" + clean
		before := b.Tree(t, b.Base(t, "arm64"))
		after := b.Tree(t, lab.MustBuild(t, b, build(t, b, buildContext(t), dockerfile)).Image)
		assert.Greater(t, len(after), 1000)
		assert.Empty(t, before.Without(lab.BuilderNoise...).Diff(after.Without(lab.BuilderNoise...)))
	}, "buildah-oci") // its files are those of buildah-docker
}

// The README's first example: Dockerfile.example, which it shows, and the command, on a machine
// whose only builder is buildah. The README shows the output of some day, with that day's point
// release.
func TestExample(t *testing.T) {
	example, err := os.ReadFile("../../Dockerfile.example")
	require.NoError(t, err)
	_, lines, _ := strings.Cut(string(example), "\n#\nFROM ")
	dockerfile, command, said := readmeExample(t)
	assert.Equal(t, "FROM "+lines, dockerfile)

	place, bin := lab.NewPlace(t, false), filepath.Join(t.TempDir(), "bin")
	require.NoError(t, os.Mkdir(bin, 0o755))
	for _, name := range []string{"buildah", "runc"} {
		require.NoError(t, os.Symlink(need.Program(t, name, name), filepath.Join(bin, name)))
	}
	require.NoError(t, os.Symlink(installed(t, place), filepath.Join(bin, "binproxy")))
	require.NoError(t, os.Symlink(need.Emulator(t, "aarch64"), filepath.Join(bin, "qemu-aarch64-static")))
	context := filepath.Join(place.Dir, "context")
	require.NoError(t, os.Mkdir(context, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(context, "Dockerfile"), []byte(dockerfile), 0o644))
	configuration := filepath.Join(place.Dir, "containers.conf")
	require.NoError(t, os.WriteFile(configuration, []byte("[containers]\nnetns = \"host\"\n"), 0o644))
	do := func(command string) string {
		cmd := place.Command(t.Context(), "sh", "-c", "PATH="+bin+" && cd "+context+" && "+command)
		cmd.Env = append(cmd.Env, "CONTAINERS_CONF="+configuration)
		return lab.Do(t, cmd)
	}
	do("buildah pull --arch arm64 docker-archive:" + debianImage(t, place.Dir))
	output := do(command + " 2>&1")
	point := regexp.MustCompile(`\n12\.\d+\n`)
	first, last, found := strings.Cut(said, "[...]\n")
	require.True(t, found)
	for _, shown := range []string{first, last} {
		assert.Contains(t, point.ReplaceAllString(output, "\n12.N\n"), point.ReplaceAllString(shown, "\n12.N\n"))
	}
}

// The README's Dockerfile with binproxy in it builds with every builder.
func TestInReadme(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	_, dockerfile, _ := strings.Cut(string(text), "```Dockerfile\nFROM debian:bookworm\n")
	dockerfile, _, found := strings.Cut(dockerfile, "```\n")
	require.True(t, found)
	lab.EveryBuilder(t, func(t *testing.T, b lab.Builder) {
		r := lab.MustBuild(t, b, build(t, b, buildContext(t), from+dockerfile))
		runs := r.Runs()
		require.Len(t, runs, 2, r.Log)
		assert.Regexp(t, `^\w{3} \w{3} .* UTC \d{4}\nLinux \S+ 4\.15\.0-112-generic #1 SMP aarch64 GNU/Linux\n$`, runs[1].Output)
	})
}

// debianImage is a file with the image debian:bookworm for arm64, as a registry has it.
func debianImage(t *testing.T, dir string) string {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "debian.tar"))
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, lab.WriteImage(f, lab.FirstStage(t, "arm64"), arch.Get("aarch64"), "docker.io/library/debian:bookworm"))
	return f.Name()
}

// readmeExample is the README's first example: the Dockerfile, the command and its output.
func readmeExample(t *testing.T) (dockerfile, command, said string) {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	_, example, _ := strings.Cut(string(text), "```console\n$ cat Dockerfile\n")
	example, _, found := strings.Cut(example, "```\n")
	require.True(t, found)
	dockerfile, rest, found := strings.Cut(example, "$ ")
	require.True(t, found)
	command, said, _ = strings.Cut(rest, "\n")
	return dockerfile, command, said
}

// With BuildKit and buildah the bundle can be mounted for the lines that need it. No layer has
// anything of it but the empty directory that it was mounted on, with Docker 20.10 and buildah.
func TestMount(t *testing.T) {
	t.Run("buildkit", func(t *testing.T) { mounted(t, lab.BuildKit(t)) })
	t.Run("buildah", func(t *testing.T) { mounted(t, lab.Buildah(t, "docker")) })
}

func mounted(t *testing.T, b lab.Builder) {
	dockerfile := "ARG BASE\nFROM --platform=linux/arm64 $BASE AS routed\n" + add + "RUN [\"/binproxy/binproxy\", \"install\", \"--no-sh\"]\n" +
		"FROM --platform=linux/arm64 $BASE\n" +
		"RUN --mount=type=bind,from=routed,source=/binproxy,target=/binproxy [\"/binproxy/sh\", \"-c\", \"uname -m; perl -e 'print 6*7' | cat; echo\"]\n"
	r := lab.MustBuild(t, b, build(t, b, buildContext(t), dockerfile))
	runs := r.Runs()
	require.Len(t, runs, 2, r.Log)
	assert.Equal(t, arch.Get("aarch64").Machine+"\n42\n", runs[1].Output)
	before, after := b.Tree(t, b.Base(t, "arm64")), b.Tree(t, r.Image)
	changed := before.Without(lab.BuilderNoise...).Changed(after.Without(lab.BuilderNoise...))
	assert.Subset(t, []string{"/binproxy"}, changed)
}
