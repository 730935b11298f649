package registry

import (
	"archive/tar"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/require"

	"binproxy/emu/arch"
	"binproxy/test/lib/debs"
	"binproxy/test/lib/fixture"
	"binproxy/test/lib/lab"
)

// Busybox pushes an image for two platforms, the host's and Guest's, that contains what Docker's
// own busybox does: one static program under all its names, and accounts.
func (r Registry) Busybox(t testing.TB, names ...string) {
	t.Helper()
	index, err := layout.ImageIndexFromPath(busyboxLayout(t))
	require.NoError(t, err)
	index = mutate.IndexMediaType(index, types.DockerManifestList)
	for _, name := range names {
		require.NoError(t, remote.WriteIndex(r.parse(t, r.Host+"/"+name), index))
	}
}

func busyboxLayout(t testing.TB) string {
	t.Helper()
	programs, from := map[string]string{}, []string{accounts, groups, strings.Join(directories, " ")}
	for _, port := range ports() {
		dir := debs.UnpackedFor(t, lab.Suite, port, "busybox-static")
		programs[port] = filepath.Join(dir, "bin", "busybox")
		from = append(from, filepath.Base(dir))
	}
	f := fixture.Fixture{Name: "images/busybox-" + lab.Suite, What: "images of busybox for two platforms", From: from,
		Make: func(ctx context.Context, work, made string, _ *os.File) error {
			list, err := exec.CommandContext(ctx, programs[arch.Host().Debian], "--list").Output()
			if err != nil {
				return err
			}
			roots := map[string]string{}
			for port, program := range programs {
				roots[port] = filepath.Join(work, port+".tar")
				if err := writeRoot(roots[port], program, strings.Fields(string(list))); err != nil {
					return err
				}
			}
			return writeLayout(made, roots, "busybox", "sh")
		}}
	return f.For(t)
}

const (
	accounts = "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\n" +
		"bin:x:2:2:bin:/bin:/bin/false\nsys:x:3:3:sys:/dev:/bin/false\nwww-data:x:33:33:www-data:/var/www:/bin/false\n" +
		"operator:x:37:37:Operator:/var:/bin/false\nnobody:x:65534:65534:nobody:/home:/bin/false\n"
	groups = "root:x:0:\ndaemon:x:1:\nbin:x:2:\nsys:x:3:\nadm:x:4:\ntty:x:5:\ndisk:x:6:\nwheel:x:10:root\n" +
		"www-data:x:33:\noperator:x:37:\nstaff:x:50:\nusers:x:100:\nnobody:x:65534:\n"
)

var directories = []string{"bin", "dev", "etc", "home", "root", "tmp", "usr", "usr/bin", "usr/sbin", "var", "var/spool", "var/www"}

// writeRoot writes the tar archive of a root with busybox under its names.
func writeRoot(path, program string, names []string) error {
	text, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	w := tar.NewWriter(file)
	for _, name := range directories {
		mode := int64(0o755)
		if name == "tmp" {
			mode = 0o1777
		}
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: mode}); err != nil {
			return err
		}
	}
	for _, f := range []struct {
		name, text string
		mode       int64
	}{{"bin/busybox", string(text), 0o755}, {"etc/passwd", accounts, 0o644}, {"etc/group", groups, 0o644}} {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: f.mode, Size: int64(len(f.text))}); err != nil {
			return err
		}
		if _, err := w.Write([]byte(f.text)); err != nil {
			return err
		}
	}
	for _, name := range names {
		if name == "busybox" {
			continue
		}
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeLink, Name: "bin/" + name, Linkname: "bin/busybox", Mode: 0o755}); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return file.Close()
}
