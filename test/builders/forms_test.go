package builders

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/test/lib/debs"
	"binproxy/test/lib/lab"
	"binproxy/test/lib/need"
)

// TestReplaced: programs that know nothing of binproxy replace what install has put in place. The
// lines after that run as before, with the newer files; clean keeps these.
func TestReplaced(t *testing.T) {
	lab.Builders(t, func(t *testing.T, b lab.Builder) {
		need.Long(t)
		replaced(t, b)
	}, "classic", "buildah-oci")
	t.Run("classic", func(t *testing.T) { replaced(t, lab.Classic(t)) })
}

func replaced(t *testing.T, b lab.Builder) {
	const some = `RUN ["/binproxy/binproxy", "install", "/usr/bin/mawk", "/usr/bin/tac"]` + "\n"
	context := buildContext(t)
	dockerfile := from + add + some
	said := func(line string) string {
		dockerfile += "RUN " + line + "\n"
		return line
	}
	said("rm /bin/sh && ln -s bash /bin/sh")
	bash := said("echo ${BASH_VERSION%%.*}")
	said("ln -sf dash /bin/sh") // as many images have it
	dash := said("echo .$BASH_VERSION.; exec /bin/sh -c 'echo again'")
	said("cp -a /usr/bin/.binproxy.tac /new && mv /new /usr/bin/tac && touch -d @77 /usr/bin/tac")
	tac := said(`["/usr/bin/tac", "/etc/debian_version"]`)
	diverted := said("dpkg-divert --quiet --local --rename --add /usr/bin/mawk && cp /usr/bin/wc /usr/bin/mawk")
	wc := said(`["/usr/bin/mawk", "-l", "/etc/debian_version"]`)
	distrib := said("/usr/bin/mawk.distrib 'BEGIN { print 6 * 7 }'")
	require.NoError(t, os.Link(debs.File(t, "bookworm", "arm64", "dash"), filepath.Join(context, "dash.deb")))
	dockerfile += "ADD dash.deb /\n"
	upgraded := said("dpkg -i --force-unsafe-io /dash.deb >/dev/null && readlink /bin/sh && rm /dash.deb")
	last := said("echo $0")
	dockerfile += clean
	after := lab.MustBuild(t, b, build(t, b, context, dockerfile))
	out := outputs(after)
	assert.Equal(t, "5\n", out[bash])
	assert.Equal(t, "..\nagain\n", out[dash])
	assert.Regexp(t, `^12\.\d+\n$`, out[tac])
	assert.Empty(t, out[diverted])
	assert.Equal(t, "1 /etc/debian_version\n", out[wc])
	assert.Equal(t, "42\n", out[distrib])
	assert.Equal(t, "dash\n", out[upgraded])
	assert.Equal(t, "/bin/sh\n", out[last])
	files := b.Tree(t, after.Image)
	assert.Contains(t, files["/usr/bin/sh"], "dash")
	assert.Contains(t, files, "/usr/bin/mawk.distrib")
	for name := range files {
		assert.NotContains(t, name, ".binproxy.")
	}
}

// TestForms: shells and commands that are called by their own names, in each form that a
// Dockerfile has, run everything that they start, also by paths that are built in.
func TestForms(t *testing.T) {
	lab.Builders(t, func(t *testing.T, b lab.Builder) {
		need.Long(t)
		forms(t, b)
	}, "classic", "buildah-oci")
	t.Run("classic", func(t *testing.T) { forms(t, lab.Classic(t)) })
}

const (
	byPath = `perl -e 'print qx(/bin/uname -m); exec q(/usr/bin/id), q(-u)'`
	update = `apt-get -o Dir::Etc::sourcelist=/etc/local.list -o Dir::Etc::sourceparts=- update -q`
)

func forms(t *testing.T, b lab.Builder) {
	context := buildContext(t)
	require.NoError(t, os.Mkdir(filepath.Join(context, "repository"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(context, "repository", "Packages"), nil, 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(context, "local.list"), []byte("deb [trusted=yes] file:/repository ./\n"), 0o644))
	execForm := `["/usr/bin/` + strings.ReplaceAll(update, " ", `", "`) + `"]`
	shell := `["/bin/bash", "-c", "echo $BASHPID; /usr/bin/` + update + ` | grep -c ^Get; exit $PIPESTATUS"]`
	top := from + add + `RUN ["/binproxy/binproxy", "install", "/usr/bin/apt-get", "/usr/bin/perl"]` + "\nADD repository /repository/\nADD local.list /etc/\n"
	r := lab.MustBuild(t, b, build(t, b, context, top+"SHELL [\"/bin/bash\", \"-o\", \"pipefail\", \"-c\"]\n"+
		"RUN false | true || echo $? ${BASH_VERSION%%.*}\nRUN "+byPath+"\nRUN /usr/bin/"+update+" && echo done\nRUN "+execForm+"\nRUN "+shell+"\n"+
		"SHELL [\"/bin/dash\", \"-c\"]\nRUN "+byPath+"; echo $0\n"+
		"ENTRYPOINT [\"/usr/bin/perl\", \"-e\", \"print qx(/bin/uname -m); exit system @ARGV\"]\nCMD [\"/usr/bin/id\", \"-u\"]\n"))
	runs := r.Runs()
	require.Len(t, runs, 7, r.Log)
	assert.Equal(t, "1 5\n", runs[1].Output)
	assert.Equal(t, "aarch64\n0\n", runs[2].Output)
	assert.Contains(t, runs[3].Output, "\ndone\n")
	for _, run := range runs[3:5] {
		assert.Contains(t, run.Output, "Reading package lists", run.Instruction)
		assert.NotContains(t, run.Output, "Failed", run.Instruction)
	}
	assert.Equal(t, "aarch64\n0\n/bin/dash\n", runs[6].Output)
	var command []string
	if strings.HasPrefix(b.Name(), "buildah") { // buildah run applies no ENTRYPOINT
		command = []string{"/usr/bin/perl", "-e", "print qx(/bin/uname -m); exit system @ARGV", "/usr/bin/id", "-u"}
	}
	said, status := b.Run(t, r.Image, command...)
	assert.Equal(t, "aarch64\n0\n", said)
	assert.Zero(t, status)
}
