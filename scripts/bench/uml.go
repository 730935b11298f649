package main

import (
	"context"
	"os"
	"path/filepath"

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
	case "execs":
		for range 100 {
			if err := exec.Command("/proc/self/exe", "nothing").Run(); err != nil {
				panic(err)
			}
		}
	}
}
`

// umlBoot is a boot to a program that does nothing and the power-off; umlSyscalls and umlExecs include it.
func umlBoot(ctx context.Context, dir string) (command, command, error) {
	return umlRow(ctx, dir, "nothing")
}

// umlSyscalls is 20,000 system calls.
func umlSyscalls(ctx context.Context, dir string) (command, command, error) {
	return umlRow(ctx, dir, "syscalls")
}

// umlExecs is 100 times fork, exec and wait.
func umlExecs(ctx context.Context, dir string) (command, command, error) {
	return umlRow(ctx, dir, "execs")
}

// umlRow is the probe under the kernel that `binproxy uml run` takes, against the same on the host.
func umlRow(ctx context.Context, dir, what string) (command, command, error) {
	kernel, err := uml.Find("")
	if err != nil {
		return command{}, command{}, err
	}
	root := filepath.Join(dir, "root")
	for _, sub := range []string{"proc", "sys", "dev", "tmp", "run"} {
		if err := os.MkdirAll(filepath.Join(root, sub), 0o755); err != nil {
			return command{}, command{}, err
		}
	}
	if err := compile(ctx, filepath.Join(dir, "probe"), umlProbe); err != nil {
		return command{}, command{}, err
	}
	if err := os.Rename(filepath.Join(dir, "probe"), filepath.Join(root, "probe")); err != nil {
		return command{}, command{}, err
	}
	if err := buildProgram(ctx, dir); err != nil {
		return command{}, command{}, err
	}
	measured := command{path: filepath.Join(dir, "binproxy"), args: []string{"uml", "run", "--kernel", kernel.Path, "--root", root, "--", "/probe", what}}
	return measured, command{path: filepath.Join(root, "probe"), args: []string{what}}, nil
}
