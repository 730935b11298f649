// Command demo is `make demo`, the main job from end to end. debootstrap makes an arm64 Debian,
// and buildah builds Dockerfile.example on it, which has nothing about binproxy in it. binproxy
// alone makes its RUN lines run, and nothing of it is in the image.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"binproxy/emu/arch"
	"binproxy/test/lib/lab"
)

const (
	port  = "arm64"
	base  = "docker.io/library/debian:bookworm" // buildah takes it for debian:bookworm
	image = "image"
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

	step("The image debian:bookworm, made of it: for buildah, in a storage that is removed afterwards")
	dir, err := os.MkdirTemp("", "binproxy-demo-")
	if err != nil {
		return err
	}
	b := buildah{dir}
	defer b.remove()
	if err := b.load(ctx, root); err != nil {
		return err
	}
	return b.build(ctx, root)
}

// buildah is a buildah with a storage and a build context below dir.
type buildah struct{ dir string }

// command is a command of buildah. It starts RUN lines without an OCI runtime, which needs least
// of the machine.
func (b buildah) command(ctx context.Context, words ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Env = append(os.Environ(), "CONTAINERS_STORAGE_CONF="+b.dir+"/storage.conf", "BUILDAH_ISOLATION=chroot")
	return cmd
}

// load makes the base image, and the context with the Dockerfile.
func (b buildah) load(ctx context.Context, root string) error {
	text, err := os.ReadFile("Dockerfile.example")
	if err != nil {
		return err
	}
	storage := fmt.Sprintf("[storage]\ndriver = \"vfs\"\ngraphroot = %q\nrunroot = %q\n", b.dir+"/graph", b.dir+"/run")
	if err := errors.Join(
		os.Mkdir(b.dir+"/context", 0o755),
		os.WriteFile(b.dir+"/context/Dockerfile", text, 0o644),
		os.WriteFile(b.dir+"/storage.conf", []byte(storage), 0o644),
	); err != nil {
		return err
	}
	archive := b.dir + "/debian.tar"
	defer os.Remove(archive)
	f, err := os.Create(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	abi, err := arch.Parse(port)
	if err != nil {
		return err
	}
	if err := lab.WriteImage(f, root, abi, base); err != nil {
		return err
	}
	return show(b.command(ctx, "buildah", "pull", "--arch", port, "--quiet", "docker-archive:"+archive))
}

func (b buildah) build(ctx context.Context, root string) error {
	binproxy, err := filepath.Abs("binproxy")
	if err != nil {
		return err
	}
	step("cat Dockerfile")
	if err := show(exec.CommandContext(ctx, "cat", b.dir+"/context/Dockerfile")); err != nil {
		return err
	}
	step("binproxy build --builder buildah --platform linux/arm64 -t image .")
	cmd := b.command(ctx, binproxy, "build", "--builder", "buildah", "--platform", "linux/"+port, "-t", image, ".")
	cmd.Dir = b.dir + "/context"
	if err := show(cmd); err != nil {
		return err
	}
	step("What is in the image: its programs run, and no file is binproxy's")
	id, err := b.command(ctx, "buildah", "from", "--pull-never", image).Output()
	if err != nil {
		return fmt.Errorf("buildah from %s: %w", image, err)
	}
	const line = "perl -e 'print \"perl $] of an arm64 Debian\\n\"'; find / -xdev -name '*binproxy*' | wc -l"
	if err := show(b.command(ctx, binproxy, "run", "--guests-only", "--", "buildah", "run", strings.TrimSpace(string(id)), "--", "sh", "-c", line)); err != nil {
		return err
	}
	step("Done")
	fmt.Printf("An arm64 image was built and run, and this host is as it was. The root is kept in %s\nfor the next time (make clean-cache removes it); the image is removed.\n",
		filepath.Dir(root))
	return nil
}

// remove removes all of it; an ordinary user's buildah has files of the user's subordinate ids.
func (b buildah) remove() {
	if os.Geteuid() != 0 {
		_ = exec.Command("buildah", "unshare", "rm", "-rf", b.dir).Run()
	}
	os.RemoveAll(b.dir)
}

// registered reports whether the host's binfmt_misc has an entry that would itself run the guest's
// programs.
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

// show runs the command and shows its output to the reader.
func show(cmd *exec.Cmd) error {
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stdout
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(cmd.Args, " "), err)
	}
	return nil
}
