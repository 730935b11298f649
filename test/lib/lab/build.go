package lab

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"binproxy/test/lib/need"
)

// A Builder builds images from Dockerfiles, and runs them. Images are removed when the test ends.
type Builder interface {
	Name() string
	// Base is the reference of an image with the Root of the architecture (Debian's name).
	Base(t testing.TB, arch string) string
	// Build builds without a cache. A failed build is a Result, too.
	Build(t testing.TB, b Build) Result
	// Run runs a command, or by default the image's own, without a network.
	Run(t testing.TB, image string, command ...string) (stdout string, status int)
	// Tree lists the image's files.
	Tree(t testing.TB, image string) Tree
}

// Builders calls test, as a subtest, with each builder: Docker's two, and buildah with either of
// its formats. A missing one skips or fails its subtest; those in except are left out. In the
// short run BuildKit stands for all of them.
func Builders(t *testing.T, test func(t *testing.T, b Builder), except ...string) {
	everyBuilder(t, test, except, func(t *testing.T, name string) {
		if name != "buildkit" {
			need.Long(t)
		}
	})
}

// EveryBuilder is Builders for the only test that uses all of them in the short run, too.
func EveryBuilder(t *testing.T, test func(t *testing.T, b Builder)) {
	everyBuilder(t, test, nil, func(*testing.T, string) {})
}

func everyBuilder(t *testing.T, test func(t *testing.T, b Builder), except []string, wanted func(t *testing.T, name string)) {
	for _, kind := range []struct {
		name string
		make func(testing.TB) Builder
	}{
		{"classic", Classic},
		{"buildkit", BuildKit},
		{"buildah-docker", func(t testing.TB) Builder { return Buildah(t, "docker") }},
		{"buildah-oci", func(t testing.TB) Builder { return Buildah(t, "oci") }},
	} {
		if !slices.Contains(except, kind.name) {
			t.Run(kind.name, func(t *testing.T) {
				wanted(t, kind.name)
				test(t, kind.make(t))
			})
		}
	}
}

// A Build says what to build.
type Build struct {
	Context    string            // the directory
	Dockerfile string            // its text
	Args       map[string]string // for its ARG lines
	// Docker's network for the RUN lines: none by default, or host. buildah has the host's
	Network string
}

// file writes the Dockerfile to a place outside the context, so that one context serves several
// builds at once.
func (b Build) file(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "Dockerfile")
	require.NoError(t, os.WriteFile(path, []byte(b.Dockerfile), 0o644))
	return path
}

func (b Build) flags() []string {
	var flags []string
	for name, value := range b.Args {
		flags = append(flags, "--build-arg", name+"="+value)
	}
	return flags
}

// A Result is the output and the outcome of a build.
type Result struct {
	Log   string // both streams
	Steps []Step // the instructions that were reached, in order
	Image string // "" if the build failed
	// of the failed RUN line, in the builder's words; 0 for a build without failure
	Status int
}

// A Step is an instruction of the Dockerfile as the builder shows it, and the output of its RUN
// line.
type Step struct{ Instruction, Output string }

// Runs lists the steps that are RUN lines.
func (r Result) Runs() []Step {
	var runs []Step
	for _, step := range r.Steps {
		if strings.HasPrefix(step.Instruction, "RUN ") {
			runs = append(runs, step)
		}
	}
	return runs
}

// MustBuild ends the test if the build fails.
func MustBuild(t testing.TB, builder Builder, b Build) Result {
	t.Helper()
	r := builder.Build(t, b)
	if r.Image == "" {
		t.Fatalf("%s: the build failed with status %d:\n%s", builder.Name(), r.Status, r.Log)
	}
	return r
}

// finish runs the build's command, whose last argument is the context, and parses its output.
func finish(t testing.TB, cmd *exec.Cmd, parse func(log string) []Step) Result {
	t.Helper()
	idFile := filepath.Join(t.TempDir(), "id")
	cmd.Args = slices.Insert(cmd.Args, len(cmd.Args)-1, "--iidfile", idFile)
	log, status := combined(t, cmd)
	r := Result{Log: log, Steps: parse(log)}
	if status != 0 {
		r.Status = failedStatus(log, status)
		return r
	}
	id, err := os.ReadFile(idFile)
	require.NoError(t, err, log)
	r.Image = strings.TrimSpace(string(id))
	return r
}

// failedStatus finds the status of the failed RUN line in the builder's words; not all builders
// end with that status themselves.
func failedStatus(log string, status int) int {
	said := regexp.MustCompile(`(?:non-zero code:|exit code:|exit status) (\d+)`)
	for _, m := range said.FindAllStringSubmatch(log, -1) {
		status, _ = strconv.Atoi(m[1])
	}
	return status
}

// combined runs the command and gives both streams, without colours, and the exit status.
func combined(t testing.TB, cmd *exec.Cmd) (string, int) {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	colour := regexp.MustCompile("\x1b\\[[0-9;]*m")
	return colour.ReplaceAllString(out.String(), ""), cmd.ProcessState.ExitCode()
}

// ran runs the command and gives its standard output and exit status; stderr goes to the log.
func ran(t testing.TB, cmd *exec.Cmd) (string, int) {
	t.Helper()
	var out, diagnostics bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &diagnostics
	err := cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	t.Logf("%s: %v\n%s", cmd, err, &diagnostics)
	return out.String(), cmd.ProcessState.ExitCode()
}

// steps parses a log in which each step begins with a line that start matches; start's first group
// is the instruction. The step's output follows, without the lines that noise matches.
func steps(log string, start, noise *regexp.Regexp) []Step {
	var found []Step
	for line := range strings.Lines(log) {
		if m := start.FindStringSubmatch(line); m != nil {
			found = append(found, Step{Instruction: strings.TrimSpace(m[1])})
		} else if len(found) > 0 && !noise.MatchString(line) {
			found[len(found)-1].Output += line
		}
	}
	return found
}

// buildKitSteps parses BuildKit's plain log, in which steps are numbered and may be mingled.
// Output lines have a time.
func buildKitSteps(log string) []Step {
	start := regexp.MustCompile(`^#(\d+) \[(?:[^\]]* )?\d+/\d+\] (.*)`)
	said := regexp.MustCompile(`^#(\d+) \d+\.\d+ ?(.*)`)
	var found []Step
	at := map[string]int{}
	for line := range strings.Lines(log) {
		if m := start.FindStringSubmatch(line); m != nil {
			if _, again := at[m[1]]; !again {
				at[m[1]] = len(found)
				found = append(found, Step{Instruction: m[2]})
			}
		} else if m := said.FindStringSubmatch(line); m != nil {
			if i, ok := at[m[1]]; ok {
				found[i].Output += m[2] + "\n"
			}
		}
	}
	return found
}

// background outlives the test: it is for Cleanup functions.
func background() context.Context { return context.Background() }
