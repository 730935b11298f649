package builders

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
	"binproxy/test/lib/built"
	"binproxy/test/lib/debs"
	"binproxy/test/lib/lab"
	"binproxy/test/lib/need"
)

// TestApt does what a farm cannot do: debootstrap's second stage inside `binproxy run --root`, and
// then, in the image of that root, apt-get install of a package and of a compiler, with every
// program that apt, dpkg and gcc start by their own paths. The first builder of each architecture
// also runs Python's subprocess and a Go program that executes itself. In the short run the root
// was configured natively, and BuildKit installs the small package.
func TestApt(t *testing.T) {
	need.Root(t)
	debs.Network(t)
	for port, builders := range map[string][]func(testing.TB) lab.Builder{
		"arm64": {lab.Classic, lab.BuildKit, buildah},
		"armhf": {lab.BuildKit, lab.Classic, buildah},
	} {
		t.Run(port, func(t *testing.T) {
			if port != "arm64" {
				need.Long(t)
			}
			context := t.TempDir()
			makeBundle(t, filepath.Join(context, "bundle"), port)
			if port == "arm64" && !testing.Short() {
				secondStage(t, port, filepath.Join(context, "root.tar"))
			} else {
				said, err := exec.Command("cp", lab.Root(t, port), filepath.Join(context, "root.tar")).CombinedOutput()
				require.NoError(t, err, string(said))
			}
			require.NoError(t, os.WriteFile(filepath.Join(context, "hello.c"), []byte(hello), 0o644))
			abi, err := arch.Parse(port)
			require.NoError(t, err)
			built.Guest(t, abi.GOARCH, "testdata/again.go", filepath.Join(context, "again"))
			for i, make := range builders {
				b := make(t)
				t.Run(b.Name(), func(t *testing.T) {
					if b.Name() != "buildkit" {
						need.Long(t)
					}
					aptBuild(t, b, port, context, i == 0)
				})
			}
		})
	}
}

func buildah(t testing.TB) lab.Builder { return lab.Buildah(t, "docker") }

const python = `import subprocess, sys; print(subprocess.run([sys.executable, "-c", "print(6 * 7)"], capture_output=True, text=True).stdout.strip(), ` +
	`subprocess.run("exit 3", shell=True).returncode)`

const hello = "#include <stdio.h>\n#include <stdlib.h>\nint main(void) { return puts(\"compiled\") < 0 || fflush(stdout) || system(\"/bin/uname -m\"); }\n"

// secondStage makes the configured root of a first stage, and its archive.
func secondStage(t *testing.T, port, archive string) {
	t.Helper()
	root := lab.Unpack(t, lab.FirstStage(t, port))
	said, err := exec.Command(built.Binproxy(t), "run", "--root", root, "--", "/debootstrap/debootstrap", "--second-stage").CombinedOutput()
	require.NoError(t, err, tail(string(said)))
	assert.Contains(t, string(said), "Base system installed successfully")
	said, err = exec.Command("tar", "-C", root, "--numeric-owner", "--exclude=./var/cache/apt/archives/*.deb", "-cf", archive, ".").CombinedOutput()
	require.NoError(t, err, string(said))
}

func aptBuild(t *testing.T, b lab.Builder, port, context string, compiler bool) {
	dockerfile := "FROM --platform=" + platform(t, port) + " scratch\nADD root.tar /\n" + add + install +
		"RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends cowsay && /usr/games/cowsay from far away | cat -A\n" +
		"RUN perl -e 'print `uname -rm`, `cat /proc/sys/kernel/osrelease`; exit((system(\"/bin/false\") >> 8) == 1 ? 0 : 9)'\n" +
		"USER nobody\nRUN id -un; /bin/sh -c 'exec /usr/bin/id -gn'\nUSER root\n"
	if compiler {
		dockerfile += "RUN apt-get install -y -qq --no-install-recommends gcc libc6-dev python3-minimal >/dev/null\nADD hello.c again /\n" +
			"RUN gcc -O1 -o /hello /hello.c && /hello\nRUN python3 -c '" + python + "'\nRUN /again\n"
	}
	r := lab.MustBuild(t, b, lab.Build{Context: context, Dockerfile: dockerfile, Network: "host"})
	runs := r.Runs()
	require.GreaterOrEqual(t, len(runs), 4, r.Log)
	assert.Contains(t, runs[1].Output, " _______________$\n< from far away >$\n ---------------$\n        \\   ^__^$\n", r.Log)
	machine := map[string]string{"arm64": "aarch64", "armhf": "armv7l"}[port]
	assert.Equal(t, release+" "+machine+"\n"+release+"\n", runs[2].Output)
	assert.Equal(t, "nobody\nnogroup\n", runs[3].Output)
	if compiler {
		require.Len(t, runs, 8, r.Log)
		assert.Equal(t, "compiled\n"+machine+"\n", runs[5].Output)
		assert.Equal(t, "42 3\n", runs[6].Output)
		assert.Equal(t, "/again [once more]\n", runs[7].Output)
	}
}

// tail is the end of a long output.
func tail(text string) string {
	return text[max(0, strings.LastIndex(text[:max(0, len(text)-2000)], "\n")+1):]
}
