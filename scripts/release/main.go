// Command release is `make release`: everything that people download, below dist/. The same source
// and the same emulators give the same bytes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"binproxy/scripts/host"
)

// complete are the architectures of hosts on which every route works; partial those on which the
// program builds, but cannot supervise.
var (
	complete = []string{"amd64", "arm64"}
	partial  = []string{"386", "arm", "loong64", "ppc64le", "riscv64", "s390x"}
)

// A release is what is being made.
type release struct {
	out, work string
	version   version
	archs     []string          // GOARCH of archives and packages
	hosts     []string          // GOARCH of images
	guests    []string          // OCI's names; empty for all
	debian    map[string]string // GOARCH to a file of Debian's package of emulators
}

func main() {
	r := release{debian: map[string]string{}}
	list := func(into *[]string) func(string) error {
		return func(value string) error {
			*into = strings.FieldsFunc(value, func(c rune) bool { return c == ',' })
			return nil
		}
	}
	r.archs, r.hosts = append(append([]string{}, complete...), partial...), complete
	flag.StringVar(&r.out, "o", "dist", "`DIR` where to; files of earlier releases there are removed")
	flag.Func("archs", "`ARCH[,ARCH...]` architectures of the archives and packages (default all)", list(&r.archs))
	flag.Func("hosts", "`ARCH[,ARCH]` architectures of hosts that get images (default amd64,arm64)", list(&r.hosts))
	flag.Func("guests", "`ARCH[,ARCH...]` architectures of images that get a bundle (default all)", list(&r.guests))
	flag.Func("qemu", "`ARCH=FILE` Debian's package of emulators for hosts of this architecture (default: the current one is fetched)", func(value string) error {
		arch, file, found := strings.Cut(value, "=")
		if !found {
			return errors.New("it is ARCH=FILE")
		}
		var err error
		r.debian[arch], err = filepath.Abs(file)
		return err
	})
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := r.make(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func (r release) make(ctx context.Context) (err error) {
	if flag.NArg() > 0 {
		return fmt.Errorf("%q is one word too many", flag.Arg(0))
	}
	if r.work, err = os.MkdirTemp("", "binproxy-release-"); err != nil {
		return err
	}
	defer os.RemoveAll(r.work)
	if err := settle(ctx); err != nil {
		return err
	}
	if r.version, err = describe(ctx); err != nil {
		return err
	}
	if err := clear(r.out); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{r.programs, r.archives, r.packages, r.images, r.bill, r.sums} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// settle sets SOURCE_DATE_EPOCH for all that is called, to the commit's time unless it is set.
func settle(ctx context.Context) error {
	if os.Getenv("SOURCE_DATE_EPOCH") != "" {
		return nil
	}
	out, err := exec.CommandContext(ctx, "git", "log", "-1", "--format=%ct").Output()
	if err != nil {
		return fmt.Errorf("SOURCE_DATE_EPOCH is not set, and git log: %w", err)
	}
	return os.Setenv("SOURCE_DATE_EPOCH", strings.TrimSpace(string(out)))
}

// clear removes what an earlier call made.
func clear(out string) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	for _, pattern := range []string{"binproxy-*", "binproxy_*", "SHA256SUMS", "images"} {
		found, err := filepath.Glob(filepath.Join(out, pattern))
		for _, path := range found {
			err = errors.Join(err, os.RemoveAll(path))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// stage is the directory with an architecture's programs; common has what is the same for all.
func (r release) stage(arch string) string { return filepath.Join(r.work, "stage", arch) }
func (r release) common() string           { return filepath.Join(r.work, "stage", "common") }

// base is the name of an artefact without its ending.
func (r release) base(arch string) string { return "binproxy-" + r.version.name + "-linux-" + arch }

// host is a host of this release's images. Its emulators are Debian's.
func (r release) host(ctx context.Context, arch string) (host.Host, error) {
	h := host.Host{GOARCH: arch, Dir: filepath.Join(r.work, "host", arch), Native: filepath.Join(r.stage(runtime.GOARCH), "binproxy"), Package: r.debian[arch]}
	var err error
	if h.Package == "" {
		h.Package, err = h.Fetch(ctx)
		r.debian[arch] = h.Package
	}
	return h, err
}
