package twins

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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

// packNative unpacks a root of the host's architecture into a directory, and packs there the twins
// that any guest can use.
func packNative(ctx context.Context, program, archive, dir string) (twins string, err error) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	for _, argv := range [][]string{
		{"tar", "-C", dir, "--numeric-owner", "-xpf", archive},
		{"cp", program, dir + "/binproxy"},
		{"chroot", dir, "/binproxy", "twin", "pack", "--set", "text,compressors,packages,apt", "-o", "/twins"},
	} {
		if out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("%s: %w\n%s", argv, err, out)
		}
	}
	return filepath.Join(dir, "twins"), nil
}

// TestStage: a stage of the host's architecture packs twins, which are copied into the guest's;
// the shell there uses them, but not if they are switched off. debootstrap has only unpacked the
// guest, so no database knows its files.
func TestStage(t *testing.T) {
	for _, make := range []func(testing.TB) lab.Builder{lab.Classic, lab.BuildKit} {
		b := make(t)
		t.Run(b.Name(), func(t *testing.T) {
			if b.Name() != "buildkit" {
				need.Long(t)
			}
			context := t.TempDir()
			guest := lab.FirstStage
			// and so has a database; nothing else makes a first stage there
			if testing.Short() {
				guest = lab.Root
			}
			fixture.Link(t, lab.Root(t, arch.Host().Debian), filepath.Join(context, "native.tar"))
			fixture.Link(t, guest(t, "arm64"), filepath.Join(context, "guest.tar"))
			out, err := exec.Command(built.Binproxy(t), "bundle", "--arch", "arm64", "-o", filepath.Join(context, "bundle")).CombinedOutput()
			require.NoError(t, err, string(out))
			r := lab.MustBuild(t, b, lab.Build{Context: context, Dockerfile: `FROM scratch AS twins
ADD native.tar /
ADD bundle /binproxy
RUN ["/binproxy/binproxy", "twin", "pack", "--for", "arm64", "--set", "text,compressors", "-o", "/twins"]
FROM --platform=linux/arm64 scratch
ADD guest.tar /
ADD bundle /binproxy
COPY --from=twins /twins /binproxy/twins
RUN ["/binproxy/binproxy", "install"]
ENV BINPROXY_DEBUG=1
RUN echo abc | sed s/b/B/ | gzip -9n | gzip -dc; uname -m
ENV BINPROXY_TWINS=off
RUN echo abc | sed s/b/B/
RUN ["/binproxy/binproxy", "clean"]
`})
			said := map[string]string{}
			for _, step := range r.Runs() {
				said[step.Instruction] = step.Output
			}
			with, without := "", ""
			for line, output := range said {
				switch {
				case strings.Contains(line, "gzip"):
					with = output
				case strings.Contains(line, "sed"):
					without = output
				}
			}
			assert.Contains(t, with, "\naBc\n", r.Log)
			assert.Contains(t, with, "\naarch64\n")
			assert.Regexp(t, `exec (.binproxy.)?sh: twin /binproxy/twins/any/dash`, with)
			assert.Contains(t, with, "exec sed: twin /binproxy/twins/any/sed")
			assert.Contains(t, with, "exec gzip: twin /binproxy/twins/any/gzip")
			assert.NotContains(t, with, "twin /binproxy/twins/any/uname")
			assert.Contains(t, without, "aBc\n")
			assert.NotContains(t, without, "twin /binproxy")
		})
	}
}
