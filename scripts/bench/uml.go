package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"binproxy/emu/uml"
)

// umlProbe is a static program that does what its argument says, many times.
const umlProbe = `package main

import (
	"os"
	"os/exec"
	"syscall"
)

func main() {
	switch os.Args[1] {
	case "syscalls":
		for range 20000 {
			syscall.Getppid()
		}
	case "faults": // 8,000
		for range 2 {
			const size = 4000 * 4096
			pages, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
			if err != nil {
				panic(err)
			}
			for i := 0; i < size; i += 4096 {
				pages[i] = 1
			}
			syscall.Munmap(pages)
		}
	case "execs":
		for range 100 {
			if err := exec.Command("/proc/self/exe", "nothing").Run(); err != nil {
				panic(err)
			}
		}
	}
}
`

// umlOnHost is the probe, with boot and power-off, under the kernel that `binproxy uml run` takes,
// against the same on the host.
func umlOnHost(what string) func(context.Context, string) (command, command, error) {
	return func(ctx context.Context, dir string) (command, command, error) {
		probe, measured, err := umlProbed(ctx, dir, what)
		return measured, command{path: probe, args: []string{what}}, err
	}
}

// umlBySeccomp is the probe under that kernel with --seccomp, against without.
func umlBySeccomp(what string) func(context.Context, string) (command, command, error) {
	return func(ctx context.Context, dir string) (command, command, error) {
		_, traced, err := umlProbed(ctx, dir, what)
		if err != nil {
			return command{}, command{}, err
		}
		measured := traced
		measured.args = slices.Insert(slices.Clone(traced.args), 2, "--seccomp")
		if out, err := exec.CommandContext(ctx, measured.path, measured.args...).CombinedOutput(); err != nil {
			return command{}, command{}, fmt.Errorf("%w: %s", err, out)
		}
		return measured, traced, nil
	}
}

// umlEmulated compares it with an arm64 build of the probe under `binproxy run`, supervised, as in
// an emulated container.
func umlEmulated(what string) func(context.Context, string) (command, command, error) {
	return func(ctx context.Context, dir string) (command, command, error) {
		if _, err := findEmulator(); err != nil {
			return command{}, command{}, err
		}
		_, measured, err := umlProbed(ctx, dir, what)
		if err != nil {
			return command{}, command{}, err
		}
		guest := filepath.Join(dir, "guest")
		err = compile(ctx, guest, umlProbe, "GOARCH=arm64")
		return measured, command{path: measured.path, args: []string{"run", "--arch", "arm64", "--route", "supervise", "--", guest, what}}, err
	}
}

// umlProbed makes the probe in a root of its own, and gives its path on the host and its run.
func umlProbed(ctx context.Context, dir, what string) (probe string, run command, err error) {
	kernel, err := uml.Find("")
	if err != nil {
		return "", command{}, err
	}
	root := filepath.Join(dir, "root")
	for _, sub := range []string{"proc", "sys", "dev", "tmp", "run"} {
		if err := os.MkdirAll(filepath.Join(root, sub), 0o755); err != nil {
			return "", command{}, err
		}
	}
	probe = filepath.Join(root, "probe")
	if err := compile(ctx, probe, umlProbe); err != nil {
		return "", command{}, err
	}
	run = command{path: filepath.Join(dir, "binproxy"), args: []string{"uml", "run", "--kernel", kernel.Path, "--root", root, "--", "/probe", what}}
	return probe, run, buildProgram(ctx, dir)
}
