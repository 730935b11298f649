package builders

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"binproxy/test/lib/lab"
	"binproxy/test/lib/need"
)

// The effect of `ADD FILE /bin/sh` on an image in which /bin/sh is a link. Docker's two builders
// write through the link and so replace the shell itself, in Alpine the whole busybox; buildah
// replaces the link. docs/farm.md says so, and nothing of binproxy depends on it.
func TestAddBinSh(t *testing.T) {
	for _, tt := range []struct {
		name, bin, sh, shell string
	}{
		{"debian", "usr/bin", "dash", "/usr/bin/dash"},
		{"alpine", "", "/bin/busybox", "/bin/busybox"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.name != "debian" {
				need.Long(t)
			}
			context := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(context, "wrapper"), []byte("wrapper"), 0o755))
			require.NoError(t, os.WriteFile(filepath.Join(context, "root.tar"), linkedShell(t, tt.bin, tt.sh, tt.shell), 0o644))
			link := filepath.Join(filepath.Dir(tt.shell), "sh")
			lab.Builders(t, func(t *testing.T, b lab.Builder) {
				for _, instruction := range []string{"ADD", "COPY"} {
					dockerfile := "FROM scratch\nADD root.tar /\n" + instruction + " wrapper /bin/sh\n"
					tree := b.Tree(t, lab.MustBuild(t, b, lab.Build{Context: context, Dockerfile: dockerfile}).Image)
					replaced, kept := tt.shell, link
					if strings.HasPrefix(b.Name(), "buildah") {
						replaced, kept = link, tt.shell
					}
					assert.Equal(t, content(t, "wrapper"), sumOf(tree[replaced]), "%s: %v", instruction, tree)
					assert.NotEqual(t, content(t, "wrapper"), sumOf(tree[kept]), "%s: %v", instruction, tree)
					assert.Equal(t, kept == link, strings.HasPrefix(tree[link], string(tar.TypeSymlink)), "%s: %v", instruction, tree)
					if tt.bin != "" {
						assert.True(t, strings.HasPrefix(tree["/bin"], string(tar.TypeSymlink)), "%v", tree)
					}
				}
			})
		})
	}
}

// linkedShell is a root of three files: the shell, the link sh to it, and, where bin is not "",
// the link /bin to bin.
func linkedShell(t *testing.T, bin, sh, shell string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	add := func(h tar.Header, text string) {
		h.Size = int64(len(text))
		require.NoError(t, w.WriteHeader(&h))
		_, err := w.Write([]byte(text))
		require.NoError(t, err)
	}
	dir := strings.TrimPrefix(filepath.Dir(shell), "/")
	for i := range strings.Split(dir, "/") {
		add(tar.Header{Typeflag: tar.TypeDir, Name: strings.Join(strings.Split(dir, "/")[:i+1], "/") + "/", Mode: 0o755}, "")
	}
	if bin != "" {
		add(tar.Header{Typeflag: tar.TypeSymlink, Name: "bin", Linkname: bin, Mode: 0o777}, "")
	}
	add(tar.Header{Typeflag: tar.TypeReg, Name: shell[1:], Mode: 0o755}, "the shell")
	add(tar.Header{Typeflag: tar.TypeSymlink, Name: dir + "/sh", Linkname: sh, Mode: 0o777}, "")
	require.NoError(t, w.Close())
	return b.Bytes()
}

// content is the sum that a Tree has for a file with the text.
func content(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	require.NoError(t, w.WriteHeader(&tar.Header{Name: "f", Size: int64(len(text))}))
	_, err := w.Write([]byte(text))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	tree, err := lab.ReadTree(&b)
	require.NoError(t, err)
	return sumOf(tree["/f"])
}

func sumOf(line string) string { return line[strings.LastIndexByte(line, ' ')+1:] }
