package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"binproxy/scripts/host"
	"binproxy/scripts/image"
)

// images writes the OCI layouts below images/: guest-ARCH with the bundle for each guest, node,
// and frontend. It also writes an archive with BuildKit's plugs for each host.
func (r release) images(ctx context.Context) error {
	layouts := map[string][]image.Image{}
	for _, arch := range r.hosts {
		fmt.Fprintln(os.Stderr, "release: images for", arch)
		h, err := r.host(ctx, arch)
		if err != nil {
			return err
		}
		guests, err := h.Guests(ctx, r.guests)
		if err != nil {
			return err
		}
		f := filler{r, h, guests, filepath.Join(h.Dir, "images")}
		if err := f.fill(ctx, layouts); err != nil {
			return fmt.Errorf("for %s hosts: %w", arch, err)
		}
	}
	for name, images := range layouts {
		if _, err := image.Write(filepath.Join(r.out, "images", name), images, true); err != nil {
			return err
		}
	}
	return r.frontend(ctx)
}

// frontend has `make frontend` make its image, with the same emulators.
func (r release) frontend(ctx context.Context) error {
	args := []string{"run", "./scripts/frontend", "-hosts", strings.Join(r.hosts, ","), "-guests", strings.Join(r.guests, ","), "-o", filepath.Join(r.out, "images", "frontend")}
	for _, arch := range r.hosts {
		args = append(args, "-emulators", arch+"="+filepath.Join(r.work, "host", arch, "debian", "usr", "bin"))
	}
	return host.Run(ctx, "", nil, append([]string{"go"}, args...)...)
}

// A filler makes the files of one host's images, below dir.
type filler struct {
	release
	host   host.Host
	guests []host.Guest
	dir    string
}

func (f filler) fill(ctx context.Context, layouts map[string][]image.Image) error {
	from, err := f.host.Origin(ctx)
	if err != nil {
		return err
	}
	if err := f.host.Bundles(ctx, f.dir, f.guests); err != nil {
		return err
	}
	for _, g := range f.guests {
		root := filepath.Join(f.dir, g.Name)
		if err := f.accompany(root, from); err != nil {
			return err
		}
		made := f.image(root, "binproxy for images of "+g.Name, nil)
		layouts["guest-"+g.Name] = append(layouts["guest-"+g.Name], made)
	}
	node, err := f.node(ctx, from)
	if err != nil {
		return err
	}
	layouts["node"] = append(layouts["node"], node)
	return f.plugs(ctx, from)
}

// archNames lists the guests by binproxy's names.
func (f filler) archNames() string {
	var names []string
	for _, g := range f.guests {
		names = append(names, g.ABI.Name)
	}
	return strings.Join(names, ",")
}

func (f filler) emulators() []string {
	var flags []string
	for _, g := range f.guests {
		flags = append(flags, "--emulator", g.ABI.QEMU+"="+g.Emulator)
	}
	return flags
}

// node makes the image that puts binproxy on a node: scripts/node, and a bundle for all guests.
func (f filler) node(ctx context.Context, from host.Origin) (image.Image, error) {
	root := filepath.Join(f.dir, "node")
	if err := os.Mkdir(root, 0o755); err != nil {
		return image.Image{}, err
	}
	env := []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=" + f.host.GOARCH}
	return f.image(root, "puts binproxy on a node: its runtime, and BuildKit's plugs", []string{"/node", "-arch", f.archNames()}), errors.Join(
		host.Run(ctx, "", env, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", filepath.Join(root, "node"), "./scripts/node"),
		f.host.Call(ctx, append([]string{"bundle", "--arch", f.archNames(), "-o", filepath.Join(root, "binproxy")}, f.emulators()...)...),
		f.accompany(root, from))
}

// plugs writes the archive with BuildKit's plugs, for daemons that need no more.
func (f filler) plugs(ctx context.Context, from host.Origin) error {
	dir := filepath.Join(f.dir, "plugs")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	if err := f.host.Call(ctx, append([]string{"bundle", "--arch", f.archNames(), "--buildkit", dir}, f.emulators()...)...); err != nil {
		return err
	}
	if err := f.accompany(dir, from); err != nil {
		return err
	}
	base := f.base(f.host.GOARCH) + "-buildkit"
	return pack(filepath.Join(f.out, base+".tar.gz"), base, dir)
}

// accompany puts the licences, and the offer of the emulators' source, beside the files.
func (f filler) accompany(root string, from host.Origin) error {
	files := map[string][]byte{"COPYRIGHT.qemu": from.Licence, "SOURCE.qemu": []byte(from.Offer())}
	for _, name := range []string{"LICENSE", "NOTICES"} {
		text, err := os.ReadFile(filepath.Join(f.common(), name))
		if err != nil {
			return err
		}
		files[name] = text
	}
	return writeAll(root, files)
}

// image is the image with the files below root, labelled as OCI has it.
func (f filler) image(root, title string, entrypoint []string) image.Image {
	return image.Image{GOARCH: f.host.GOARCH, Root: root, By: "make release", Config: v1.Config{Entrypoint: entrypoint, Labels: map[string]string{
		"org.opencontainers.image.title":    title,
		"org.opencontainers.image.version":  f.version.name,
		"org.opencontainers.image.licenses": "BSD-3-Clause AND GPL-2.0-only",
	}}}
}
