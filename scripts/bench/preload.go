package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// execs is a shell that executes a program by its absolute path again and again.
const execs = `i=0; while [ $i -lt 300 ]; do /bin/true; i=$((i+1)); done`

// preloadExecs runs it in an arm64 root with a bundle, by the preload route against the supervised
// one.
func preloadExecs(ctx context.Context, dir string) (command, command, error) {
	if os.Geteuid() != 0 {
		return command{}, command{}, errors.New("needs root: a Debian root has other users' files")
	}
	emulator, err := findEmulator()
	if err != nil {
		return command{}, command{}, err
	}
	if err := buildProgram(ctx, dir); err != nil {
		return command{}, command{}, err
	}
	binproxy, root := filepath.Join(dir, "binproxy"), filepath.Join(dir, "root")
	archive, err := guestRoot(ctx, filepath.Dir(dir), binproxy, true)
	if err != nil {
		return command{}, command{}, err
	}
	if err := unpack(ctx, archive, root); err != nil {
		return command{}, command{}, err
	}
	bundle := filepath.Join(root, "binproxy")
	if err := quiet(exec.CommandContext(ctx, binproxy, "bundle", "--arch", "arm64", "--emulator", emulator, "-o", bundle)); err != nil {
		return command{}, command{}, err
	}
	by := func(route string) command {
		script := strings.Join([]string{`mount -t proc none "$1/proc"`, `exec chroot "$1" /binproxy/sh -c "$2"`}, " && ")
		return command{path: "/usr/bin/unshare", args: []string{"-m", "sh", "-c", script, "sh", root, execs}, env: append([]string{"BINPROXY_ROUTE=" + route}, guestEnv...)}
	}
	return by("preload"), by("supervise"), nil
}
