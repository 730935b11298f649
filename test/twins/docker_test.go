package twins

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
	"binproxy/test/built"
	"binproxy/test/debs"
	"binproxy/test/lab"
	"binproxy/test/need"
)

// The builds: C without configuration, C with a configuration of its own, C++ with autotools. Each ends in /src.
var builds = []string{
	"cd /src/lua-5.4.4 && make -j2 posix",
	"cd /src/zlib-1.2.13.dfsg && ./configure && make -j2",
	"cd /src/gperf-3.1 && ./configure && make -j2",
}

// tests are the programs' own.
var tests = []string{
	"cd /src/lua-5.4.4 && make test && src/lua -e 'assert(load(string.dump(function() return 6*7 end))() == 42)'",
	"cd /src/zlib-1.2.13.dfsg && make test",
	"cd /src/gperf-3.1 && make check",
}

// TestDockerBuild builds three programs of Debian's sources in docker build with twins, runs their own tests there, and compares every object,
// archive and program with those that the same lines build without twins. What may differ is the package's revision, which the compiler
// writes into .comment, and the build id, which is a sum of that too.
func TestDockerBuild(t *testing.T) {
	for _, guest := range guests {
		t.Run(guest.port, func(t *testing.T) {
			need.Emulator(t, guest.qemu)
			need.Program(t, guest.compiler+"-g++", "g++-"+guest.compiler)
			reference := withoutTwins(t, guest.port)
			context := buildContext(t, guest.port)
			b := lab.Classic(t)
			r := lab.MustBuild(t, b, lab.Build{Context: context, Dockerfile: dockerfile(t, guest.port) +
				"ENV BINPROXY_DEBUG=1\nRUN echo 'int x;' >/x.c && gcc -c /x.c\nENV BINPROXY_DEBUG=\nRUN " + strings.Join(append(slices.Clone(builds), tests...), "\nRUN ") + "\n"})
			runs := r.Runs()
			abi, err := arch.Parse(guest.port)
			require.NoError(t, err)
			assert.Contains(t, runs[1].Output, "exec cc1: twin /binproxy/twins/"+abi.Name+"/12/cc1", "the shell took the bundle's own twins")
			got := filepath.Join(t.TempDir(), "src.tar")
			extract(t, b, r.Image, got)
			compare(t, guest.compiler, reference, got)
		})
	}
}

func dockerfile(t *testing.T, port string) string {
	t.Helper()
	abi, err := arch.Parse(port)
	require.NoError(t, err)
	return "FROM --platform=" + abi.Platform() + " scratch\nADD root.tar /\nADD bundle /binproxy\nRUN [\"/binproxy/binproxy\", \"install\"]\n"
}

// buildContext has the root and a bundle with the host's twins.
func buildContext(t *testing.T, port string) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.Link(lab.Building(t, port), filepath.Join(dir, "root.tar")))
	out, err := exec.Command(built.Binproxy(t), "bundle", "--arch", port, "--twins", "-o", filepath.Join(dir, "bundle")).CombinedOutput()
	require.NoError(t, err, string(out))
	return dir
}

// withoutTwins is an archive of /src as it is built by emulation alone, which takes minutes: it is made once.
func withoutTwins(t *testing.T, port string) string {
	t.Helper()
	root, program := lab.Building(t, port), built.Binproxy(t)
	dir := debs.Made(t, "twins/emulated-"+lab.Suite+"-"+port, "what is built without twins", func(ctx context.Context, work, made string) error {
		if out, err := exec.CommandContext(ctx, "tar", "-C", work, "--numeric-owner", "-xpf", root).CombinedOutput(); err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
		for _, line := range builds {
			fmt.Fprintln(os.Stderr, "lab: twins: without:", port, line)
			cmd := exec.CommandContext(ctx, program, "run", "--route", "supervise", "--twins", "off", "--root", work, "--", "/bin/sh", "-c", line)
			cmd.Env = environment
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("%w\n%s", err, out[max(0, len(out)-2000):])
			}
		}
		if err := os.Mkdir(made, 0o755); err != nil {
			return err
		}
		out, err := exec.CommandContext(ctx, "tar", "-C", work, "-cf", filepath.Join(made, "src.tar"), "src").CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
		return nil
	})
	return filepath.Join(dir, "src.tar")
}

// extract takes /src out of an image, by the image's own tar.
func extract(t *testing.T, b lab.Builder, image, to string) {
	t.Helper()
	said, status := b.Run(t, image, "/binproxy/binproxy", "run", "--", "/bin/tar", "-C", "/", "-cf", "-", "src")
	require.Zero(t, status)
	require.NoError(t, os.WriteFile(to, []byte(said), 0o644))
}

// compare compares what was built: the same names, and the same bytes.
func compare(t *testing.T, compiler, reference, got string) {
	t.Helper()
	want, have := products(t, reference), products(t, got)
	var counts struct{ objects, archives, programs int }
	for _, name := range slices.Sorted(maps.Keys(want)) {
		require.Contains(t, have, name)
		assert.True(t, bytes.Equal(bare(t, compiler, want[name]), bare(t, compiler, have[name])), "%s differs", name)
		switch {
		case strings.HasSuffix(name, ".o") || strings.HasSuffix(name, ".lo"):
			counts.objects++
		case strings.HasSuffix(name, ".a"):
			counts.archives++
		default:
			counts.programs++
		}
	}
	assert.Greater(t, counts.objects, 80, "%+v", counts)
	assert.GreaterOrEqual(t, counts.archives, 3)
	assert.GreaterOrEqual(t, counts.programs, 4)
}

// products are the ELF files and archives of a tar archive.
func products(t *testing.T, archive string) map[string][]byte {
	t.Helper()
	f, err := os.Open(archive)
	require.NoError(t, err)
	defer f.Close()
	files := map[string][]byte{}
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if err == io.EOF {
			return files
		}
		require.NoError(t, err)
		text, err := io.ReadAll(r)
		require.NoError(t, err)
		isTest := strings.Contains(h.Name, "gperf-3.1/tests/") // made by make check
		if h.Typeflag == tar.TypeReg && !isTest && (bytes.HasPrefix(text, []byte("\x7fELF")) || bytes.HasPrefix(text, []byte("!<arch>\n"))) {
			files[h.Name] = text
		}
	}
}

// bare is an object, archive or program without what names the package's revision.
func bare(t *testing.T, compiler string, text []byte) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, text, 0o755))
	out, err := exec.Command(compiler+"-objcopy", "-R", ".comment", "-R", ".note.gnu.build-id", "--enable-deterministic-archives", file).CombinedOutput()
	require.NoError(t, err, string(out))
	text, err = os.ReadFile(file)
	require.NoError(t, err)
	return text
}
