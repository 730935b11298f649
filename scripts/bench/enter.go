package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// enter is the smallest program through `binproxy container enter`, against the same program under
// the emulator: the difference is the cost of entering.
func enter(ctx context.Context, dir string) (command, command, error) {
	emulator, err := findEmulator()
	if err != nil {
		return command{}, command{}, err
	}
	root := filepath.Join(dir, "root")
	guest := filepath.Join(root, "bin/sh") // create looks at it
	if err := writeGuest(guest); err != nil {
		return command{}, command{}, err
	}
	if err := buildProgram(ctx, dir); err != nil {
		return command{}, command{}, err
	}
	binproxy, name := filepath.Join(dir, "binproxy"), fmt.Sprintf("bench-%d-%s", os.Getpid(), filepath.Base(dir))
	create := exec.CommandContext(ctx, binproxy, "container", "create", "--arch", "arm64", "--location", root, "--name", name, "--emulator", emulator)
	if err := quiet(create); err != nil {
		return command{}, command{}, err
	}
	atEnd(func() error { return quiet(exec.Command(binproxy, "container", "remove", name)) })
	return command{path: binproxy, args: []string{"container", "enter", name, "--", "/bin/sh"}}, command{path: emulator, args: []string{guest}}, nil
}
