package main

import (
	"context"
	"debug/buildinfo"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"binproxy/scripts/host"
)

// programs builds all architectures' programs, and what is the same for all of them: the manual
// pages, the completions, the licences.
func (r release) programs(ctx context.Context) error {
	for _, arch := range union(r.archs, r.hosts, []string{runtime.GOARCH}) {
		fmt.Fprintln(os.Stderr, "release: programs for", arch)
		if err := os.MkdirAll(r.stage(arch), 0o755); err != nil {
			return err
		}
		if err := host.Build(ctx, arch, filepath.Join(r.stage(arch), "binproxy")); err != nil {
			return err
		}
		if !slices.Contains(complete, arch) {
			continue
		}
		if err := host.BuildFrontend(ctx, arch, "./cmd/binproxy-dockerfile", filepath.Join(r.stage(arch), "binproxy-dockerfile")); err != nil {
			return err
		}
	}
	for _, made := range []string{"man", "completions"} {
		if err := host.Run(ctx, "", nil, "go", "run", "./scripts/"+made, filepath.Join(r.common(), made)); err != nil {
			return err
		}
	}
	return r.notices(ctx)
}

func union(lists ...[]string) []string {
	all := slices.Concat(lists...)
	slices.Sort(all)
	return slices.Compact(all)
}

// notices writes LICENSE, ours, and NOTICES, those of all that the programs are linked from.
func (r release) notices(ctx context.Context) error {
	ours, err := os.ReadFile("LICENSE")
	if err != nil {
		return err
	}
	modules, err := r.linked()
	if err != nil {
		return err
	}
	var text strings.Builder
	text.WriteString("binproxy is under the licence in LICENSE. It is linked from the following works of others,\n" +
		"binproxy-dockerfile from those of the second list, each under its own licence.\n")
	for _, program := range []string{"binproxy", "binproxy-dockerfile"} {
		fmt.Fprintf(&text, "\n%s\n%s\n", program, strings.Repeat("=", len(program)))
		for _, m := range modules[program] {
			licences, err := licencesOf(ctx, m)
			if err != nil {
				return err
			}
			fmt.Fprintf(&text, "\n%s %s\n\n%s", m.Path, m.Version, licences)
		}
	}
	return writeAll(r.common(), map[string][]byte{"LICENSE": ours, "NOTICES": []byte(text.String())})
}

func writeAll(dir string, files map[string][]byte) error {
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// A module is a part that programs are linked from, with its directory's module for go list.
type module struct {
	debug.Module
	within string // the directory of the go.mod that has it
}

// linked reads, out of the programs for this machine, which modules they are made of, Go's library
// among them.
func (r release) linked() (map[string][]module, error) {
	all := map[string][]module{}
	for program, within := range map[string]string{"binproxy": ".", "binproxy-dockerfile": "frontend"} {
		path := filepath.Join(r.stage(runtime.GOARCH), program)
		info, err := buildinfo.ReadFile(path)
		if err != nil {
			return nil, err
		}
		all[program] = append(all[program], module{debug.Module{Path: "std", Version: strings.TrimPrefix(info.GoVersion, "go")}, within})
		for _, dep := range info.Deps {
			all[program] = append(all[program], module{*dep, within})
		}
	}
	return all, nil
}

// licencesOf are the texts of a module's files with licences and notices.
func licencesOf(ctx context.Context, m module) (string, error) {
	dir, err := m.dir(ctx)
	if err != nil {
		return "", err
	}
	var text strings.Builder
	err = fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		depth := strings.Count(name, "/")
		switch {
		case err != nil:
			return err
		case d.IsDir() && (m.Path == "std" && name != "." || depth > 2 || d.Name() == "testdata"):
			return fs.SkipDir
		case d.IsDir() || !isLicence(d.Name()):
			return nil
		}
		one, err := fs.ReadFile(os.DirFS(dir), name)
		fmt.Fprintf(&text, "%s:\n\n%s\n", name, strings.TrimRight(string(one), "\n"))
		return err
	})
	if err == nil && text.Len() == 0 {
		err = fmt.Errorf("%s: no file with a licence in %s", m.Path, dir)
	}
	return text.String(), err
}

func isLicence(name string) bool {
	name, _, _ = strings.Cut(strings.ToUpper(name), ".")
	return slices.Contains([]string{"LICENSE", "LICENCE", "COPYING", "NOTICE", "PATENTS"}, name)
}

// dir is where the module's source is.
func (m module) dir(ctx context.Context) (string, error) {
	args := []string{"list", "-m", "-f", "{{.Dir}}", m.Path}
	if m.Path == "std" {
		args = []string{"env", "GOROOT"}
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = m.within
	cmd.Env = append(os.Environ(), "GOWORK=off")
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out)), nil
}
