package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"binproxy/emu/arch"
	"binproxy/emu/bundle"
	"binproxy/scripts/host"
)

// packages has nfpm make a .deb, an .rpm and an .apk for each architecture. nfpm is in a module of
// its own, which scripts/tools has: it weighs more than binproxy.
func (r release) packages(ctx context.Context) error {
	nfpm, err := tool(ctx, "nfpm")
	if err != nil {
		return err
	}
	created, err := bundle.Timestamp()
	if err != nil {
		return err
	}
	for _, goarch := range r.archs {
		abi, err := arch.Parse(goarch)
		if err != nil {
			return err
		}
		for _, format := range []string{"deb", "rpm", "apk"} {
			config := filepath.Join(r.work, "nfpm.yaml")
			text := r.recipe(format, abi, created.Format("2006-01-02T15:04:05Z"))
			if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
				return err
			}
			target := filepath.Join(r.out, r.base(goarch)+"."+format)
			if err := host.Run(ctx, "", nil, nfpm, "package", "--config", config, "--packager", format, "--target", target); err != nil {
				return err
			}
		}
	}
	return nil
}

// tool builds a program of scripts/tools, and gives its path.
func tool(ctx context.Context, name string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "tool", "-n", name)
	cmd.Dir, cmd.Stderr = "scripts/tools", os.Stderr
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOOS=", "GOARCH=")
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go tool %s: %w", name, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// recipe is nfpm's configuration. What is compressed is the same bytes each time, so the manual
// pages stay as they are; times are given, since nfpm would take the files'.
func (r release) recipe(format string, abi *arch.ABI, mtime string) string {
	version := r.version.deb
	if format == "apk" {
		version = r.version.apk
	}
	recommended := map[string]string{"deb": "recommends:\n  - qemu-user-static\n", "rpm": "recommends:\n  - qemu-user-static\n"}[format]
	var b strings.Builder
	fmt.Fprintf(&b, `name: binproxy
arch: %s
platform: linux
version: %q
version_schema: none
maintainer: The binproxy authors <binproxy@localhost>
description: |
  run container images of another architecture
  binproxy builds and runs container images of another architecture on a host that has
  nothing registered and grants nothing. It is one static program.
license: BSD-3-Clause
section: utils
mtime: %s
rpm:
  summary: run container images of another architecture
  buildhost: localhost
%scontents:
`, packageArch(format, abi), version, mtime, recommended)
	for _, f := range r.contents(format, abi.GOARCH) {
		fmt.Fprintf(&b, "  - {src: %q, dst: %q, file_info: {mode: 0%o, mtime: %s}}\n", f.from, f.to, f.mode, mtime)
	}
	return b.String()
}

// packageArch is what a packager calls the architecture. nfpm translates Go's names, but for those
// that it does not know.
func packageArch(format string, abi *arch.ABI) string {
	switch {
	case format == "deb":
		return abi.Debian
	case format == "apk" && abi.Name == "armhf":
		return "armv7"
	case format == "apk" && abi.Name == "i386":
		return "x86"
	case format == "rpm" && abi.Name == "armhf":
		return "armv7hl"
	}
	return abi.Name
}

// A placed is a file of a package.
type placed struct {
	from, to string
	mode     os.FileMode
}

func (r release) contents(format, goarch string) []placed {
	stage, doc := r.stage(goarch), "/usr/share/doc/binproxy/"
	zsh := map[string]string{"deb": "vendor-completions"}[format]
	if zsh == "" {
		zsh = "site-functions"
	}
	files := []placed{
		{stage + "/binproxy", "/usr/bin/binproxy", 0o755},
		{stage + "/LICENSE", doc + "copyright", 0o644},
		{stage + "/NOTICES", doc + "NOTICES", 0o644},
		{stage + "/completions/binproxy.bash", "/usr/share/bash-completion/completions/binproxy", 0o644},
		{stage + "/completions/_binproxy", "/usr/share/zsh/" + zsh + "/_binproxy", 0o644},
		{stage + "/completions/binproxy.fish", "/usr/share/fish/vendor_completions.d/binproxy.fish", 0o644},
	}
	if slices.Contains(complete, goarch) {
		files = append(files, placed{stage + "/binproxy-dockerfile", "/usr/bin/binproxy-dockerfile", 0o755})
	} else {
		files = append(files, placed{stage + "/ROUTES", doc + "ROUTES", 0o644})
	}
	pages, _ := filepath.Glob(stage + "/man/*.1")
	for _, page := range pages {
		files = append(files, placed{page, "/usr/share/man/man1/" + filepath.Base(page), 0o644})
	}
	return files
}
