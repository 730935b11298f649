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
	"binproxy/test/lib/built"
	"binproxy/test/lib/fixture"
	"binproxy/test/lib/lab"
	"binproxy/test/lib/need"
)

// A build is a program of /src: the line that builds it, the line that tests it, and the least
// that it has of objects, archives and programs.
type build struct {
	make, check                 string
	objects, archives, programs int
}

// builds are C without a configure script, small and larger, C with one of its own, and C++ with
// autotools.
var builds = []build{
	{"cd /src/bzip2-1.0.8 && make -j2 libbz2.a bzip2 bzip2recover", "cd /src/bzip2-1.0.8 && make test", 8, 1, 2},
	{"cd /src/lua-5.4.4 && make -j2 posix", "cd /src/lua-5.4.4 && make test && src/lua -e 'assert(load(string.dump(function() return 6*7 end))() == 42)'", 30, 1, 2},
	{"cd /src/zlib-1.2.13.dfsg && ./configure && make -j2", "cd /src/zlib-1.2.13.dfsg && make test", 30, 1, 2},
	{"cd /src/gperf-3.1 && ./configure && make -j2", "cd /src/gperf-3.1 && make check", 15, 1, 1},
}

// chosen are the builds of this run: in the short one, only the first.
func chosen() []build {
	if testing.Short() {
		return builds[:1]
	}
	return builds
}

// lines are the lines of all builds.
func lines(builds []build, line func(build) string) []string {
	var all []string
	for _, b := range builds {
		all = append(all, line(b))
	}
	return all
}

func making(b build) string   { return b.make }
func checking(b build) string { return b.check }

// TestDockerBuild builds programs from Debian's sources in docker build with twins, runs their own
// tests there, and compares every object, archive and program with those of the same lines without
// twins. Only the package's revision may differ, which the compiler writes into .comment, and the
// build id, which is computed from that, too.
func TestDockerBuild(t *testing.T) {
	for _, guest := range guests {
		t.Run(guest.port, func(t *testing.T) {
			if guest.port != "arm64" {
				need.Long(t)
			}
			need.Emulator(t, guest.qemu)
			need.Program(t, guest.compiler+"-g++", "g++-"+guest.compiler)
			reference := withoutTwins(t, guest.port)
			context := buildContext(t, guest.port)
			b := lab.Classic(t)
			r := lab.MustBuild(t, b, lab.Build{Context: context, Dockerfile: dockerfile(t, guest.port) +
				"ENV BINPROXY_DEBUG=1\nRUN echo 'int x;' >/x.c && gcc -c /x.c\nENV BINPROXY_DEBUG=\nRUN " + strings.Join(append(lines(chosen(), making), lines(chosen(), checking)...), "\nRUN ") + "\n"})
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
	fixture.Link(t, lab.Building(t, port), filepath.Join(dir, "root.tar"))
	out, err := exec.Command(built.Binproxy(t), "bundle", "--arch", port, "--twins", "-o", filepath.Join(dir, "bundle")).CombinedOutput()
	require.NoError(t, err, string(out))
	return dir
}

// withoutTwins is an archive of /src built by emulation alone. That takes a while, so it is made
// once.
func withoutTwins(t *testing.T, port string) string {
	t.Helper()
	root, program, made := lab.Building(t, port), built.Binproxy(t), lines(chosen(), making)
	f := fixture.Fixture{
		Name: fmt.Sprintf("twins/emulated-%d-%s-%s", len(made), lab.Suite, port), Ext: ".tar", What: "what is built without twins",
		From: append(made, filepath.Base(root)),
		Make: func(ctx context.Context, work, archive string, held *os.File) error {
			if out, err := exec.CommandContext(ctx, "tar", "-C", work, "--numeric-owner", "-xpf", root).CombinedOutput(); err != nil {
				return fmt.Errorf("%w\n%s", err, out)
			}
			for _, line := range made {
				fmt.Fprintln(os.Stderr, "lab: twins: without:", port, line)
				cmd := exec.CommandContext(ctx, program, "run", "--route", "supervise", "--twins", "off", "--root", work, "--", "/bin/sh", "-c", line)
				cmd.Env, cmd.ExtraFiles = environment, []*os.File{held}
				if out, err := cmd.CombinedOutput(); err != nil {
					return fmt.Errorf("%w\n%s", err, out[max(0, len(out)-2000):])
				}
			}
			if out, err := exec.CommandContext(ctx, "tar", "-C", work, "-cf", archive, "src").CombinedOutput(); err != nil {
				return fmt.Errorf("%w\n%s", err, out)
			}
			return nil
		},
	}
	return f.For(t)
}

// extract extracts /src from an image, by the image's own tar.
func extract(t *testing.T, b lab.Builder, image, to string) {
	t.Helper()
	said, status := b.Run(t, image, "/binproxy/binproxy", "run", "--", "/bin/tar", "-C", "/", "-cf", "-", "src")
	require.Zero(t, status)
	require.NoError(t, os.WriteFile(to, []byte(said), 0o644))
}

// compare compares what was built: the names and the bytes have to be the same.
func compare(t *testing.T, compiler, reference, got string) {
	t.Helper()
	want, have := products(t, reference), products(t, got)
	var counts, least build
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
	for _, b := range chosen() {
		least.objects, least.archives, least.programs = least.objects+b.objects, least.archives+b.archives, least.programs+b.programs
	}
	assert.GreaterOrEqual(t, counts.objects, least.objects, "%+v", counts)
	assert.GreaterOrEqual(t, counts.archives, least.archives)
	assert.GreaterOrEqual(t, counts.programs, least.programs)
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

// bare is an object, archive or program without the parts that name the package's revision.
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
