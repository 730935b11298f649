// Command demo is `make demo`: the main job from end to end. An arm64 Debian is made by
// debootstrap, and Dockerfile.example is built on it by a Docker engine; binproxy is all that
// makes its RUN lines run.
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"binproxy/test/lib/lab"
)

const (
	port    = "arm64"
	release = "4.15.0-112-generic"
	base    = "binproxy-demo/debian:arm64"
	image   = "binproxy-demo/example:arm64"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := demo(ctx)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func demo(ctx context.Context) error {
	step("What this host knows of arm64 programs")
	fmt.Println(registered())

	step("A Debian root for arm64, as debootstrap's first stage unpacks it: nothing in it has run yet")
	root, err := lab.MakeFirstStage(ctx, port, os.Stderr)
	if err != nil {
		return err
	}
	fmt.Println(root)

	step("The bundle: binproxy and an emulator, for the Dockerfile to ADD")
	dir, err := os.MkdirTemp("", "binproxy-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := show(exec.CommandContext(ctx, "./binproxy", "bundle", "--arch", port, "--release", release, "-o", filepath.Join(dir, "bundle"))); err != nil {
		return err
	}

	step("A Docker engine")
	engine, err := lab.StartEngine(ctx, os.Stderr)
	if err != nil {
		return err
	}
	defer engine.Close()
	if engine.Private {
		fmt.Printf("Docker %s, private: stopped and removed when this ends\n", engine.Version)
	} else {
		fmt.Printf("Docker %s, the one that was running\n", engine.Version)
	}
	return build(ctx, engine, root, dir)
}

func build(ctx context.Context, engine *lab.Engine, root, dir string) error {
	defer func() { _ = engine.Command(context.Background(), "rmi", "--force", image, base).Run() }()
	if err := engine.Load(ctx, root, port, base); err != nil {
		return err
	}
	step("docker build -f Dockerfile.example .")
	args := []string{"-f", "Dockerfile.example", "--no-cache", "--build-arg", "BASE=" + base, "-t", image, dir}
	if engine.Private {
		args = append([]string{"--network", "none"}, args...) // it has no bridge
	}
	if err := show(engine.BuildCommand(ctx, args...)); err != nil {
		return err
	}
	const line = "uname -a; cat /etc/debian_version; perl -e 'print \"perl $] of an arm64 Debian\\n\"'"
	step("docker run IMAGE sh -c \"" + line + "\"")
	if err := show(engine.Command(ctx, "run", "--rm", "--platform", "linux/arm64", "--network", "none", image, "sh", "-c", line)); err != nil {
		return err
	}
	step("Done")
	fmt.Printf("An arm64 image was built and run, and this host is as it was. The root is kept in %s\nfor the next time (make clean-cache removes it); the images are removed.\n",
		filepath.Dir(root))
	return nil
}

// registered reports whether the host's binfmt_misc has an entry that would run the guest's
// programs by itself.
func registered() string {
	const dir = "/proc/sys/fs/binfmt_misc"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "binfmt_misc is not mounted: nothing is registered"
	}
	for _, entry := range entries {
		text, _ := os.ReadFile(filepath.Join(dir, entry.Name()))
		if strings.Contains(string(text), "enabled") && strings.Contains(entry.Name(), "aarch64") {
			return dir + "/" + entry.Name() + " is registered: on this host the image would build without binproxy too"
		}
	}
	return dir + " has no entry for them: without binproxy every RUN line below would be an exec format error"
}

func step(what string) { fmt.Printf("\n==> %s\n", what) }

// show runs the command with its output to the reader.
func show(cmd *exec.Cmd) error {
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stdout
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(cmd.Args, " "), err)
	}
	return nil
}
