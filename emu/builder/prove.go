package builder

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"binproxy/emu/arch"
	"binproxy/emu/elfinfo/tiny"
)

// label marks what a builder keeps of the smallest image, for its removal.
const label = "binproxy.probe"

// proof is how long the smallest image may take; a daemon may have to start a worker first.
const proof = 2 * time.Minute

// ran reports whether a builder says that a RUN line ended with tiny's status. Each says so in its
// own words: "exit code: 42", "exit status 42", "a non-zero code: 42".
func ran(out string) bool {
	for _, word := range []string{"code", "status"} {
		for _, said := range strings.Split(out, word)[1:] {
			number, _, _ := strings.Cut(strings.TrimLeft(said, ": "), "\n")
			if strings.TrimRight(number, " \r.") == strconv.Itoa(tiny.Status) {
				return true
			}
		}
	}
	return false
}

// Proves makes the builder, as it is, build the smallest image: FROM scratch with one program of
// the ABI, which ends with a status of its own. It reports whether the program ran, or else the
// reason in the builder's words. extra are arguments that choose the worker, such as buildx's
// --builder.
func (b Builder) Proves(ctx context.Context, abi *arch.ABI, extra ...string) (bool, string) {
	return b.proved(ctx, abi, func(dir string) Command {
		return Command{Path: b.Path, Argv: append([]string{b.Name}, b.probe(dir, abi, extra)...)}
	})
}

// Takes does the same by a plug, used as Plan uses it. own is the bundle for the plug; it has to
// exist.
func (b Builder) Takes(ctx context.Context, plug Plug, abi *arch.ABI, own Own) (bool, string) {
	if plug == Itself {
		return b.Proves(ctx, abi)
	}
	r := Request{Plug: plug, Foreign: []*arch.ABI{abi}}
	if taken, why := r.plug(b, nil); taken != plug {
		return false, why
	}
	return b.proved(ctx, abi, func(dir string) Command {
		r.Rest = b.probe(dir, abi, nil)[1:] // without the subcommand
		return r.command(b, plug, own)
	})
}

func (b Builder) proved(ctx context.Context, abi *arch.ABI, command func(dir string) Command) (bool, string) {
	if b.Refused != "" {
		return false, b.Refused
	}
	dir, err := os.MkdirTemp("", "binproxy-build-")
	if err != nil {
		return false, err.Error()
	}
	defer os.RemoveAll(dir)
	if err := smallest(dir, abi); err != nil {
		return false, err.Error()
	}
	ctx, cancel := context.WithTimeout(ctx, proof)
	defer cancel()
	c := command(dir)
	cmd := exec.CommandContext(ctx, c.Path, c.Argv[1:]...)
	cmd.Args, cmd.Env = c.Argv, slices.Concat(os.Environ(), c.Env, b.Env)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	b.tidy(context.WithoutCancel(ctx))
	switch {
	case ctx.Err() != nil:
		return false, "the smallest image was not built in time"
	case ran(string(out)):
		return true, ""
	case err == nil:
		return false, "its RUN lines do nothing"
	}
	return false, complaint(string(out), err)
}

// smallest writes the build context.
func smallest(dir string, abi *arch.ABI) error {
	file := fmt.Sprintf("FROM scratch\nLABEL %s=1\nCOPY probe /probe\nRUN [\"/probe\"]\n", label)
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(file), 0o644); err != nil {
		return err
	}
	program := tiny.Program(abi)
	if program == nil {
		return fmt.Errorf("there is no smallest program for %s", abi.Name)
	}
	if err := os.WriteFile(filepath.Join(dir, "probe"), program, 0o755); err != nil {
		return err
	}
	return os.Chmod(filepath.Join(dir, "probe"), 0o755) // whatever the umask
}

// probe is the builder's command line for the smallest image.
func (b Builder) probe(dir string, abi *arch.ABI, extra []string) []string {
	if b.Name == Buildctl {
		return append(append([]string{"build", "--progress=plain", "--no-cache", "--frontend=dockerfile.v0",
			"--local=context=" + dir, "--local=dockerfile=" + dir, "--opt=platform=" + abi.Platform()}, extra...), "--opt=force-network-mode=none")
	}
	args := []string{"build"}
	if len(extra) > 0 && b.Name == Docker {
		args = []string{"buildx", "build"}
	}
	args = append(append(args, extra...), "--platform="+abi.Platform(), "--no-cache")
	if b.Name == Docker || b.OCI {
		args = append(args, "--network=none")
	}
	if b.Name != Docker {
		args = append(args, "--layers=false")
	}
	return append(args, dir)
}

// tidy removes what the classic builder keeps of a failed image.
func (b Builder) tidy(ctx context.Context) {
	if b.Name == Docker {
		ctx, cancel := context.WithTimeout(ctx, answers)
		defer cancel()
		_ = exec.CommandContext(ctx, b.Path, "image", "prune", "--force", "--filter=label="+label).Run()
	}
}

// complaint is the line of a builder's output that gives the reason: the kernel's or the
// runtime's, if there is one, else the last.
func complaint(out string, err error) string {
	why := ""
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if strings.Contains(strings.ToLower(line), "exec format error") {
			return line
		}
		if line != "" && !strings.HasPrefix(line, "---") && !strings.HasPrefix(why, "error running container") {
			why = line
		}
	}
	return cmp.Or(why, err.Error())
}
