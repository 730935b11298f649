package lab

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"binproxy/emu/apt"
	"binproxy/test/lib/fixture"
	"binproxy/test/lib/need"
)

// FirstStage is the path of a tar archive of a Debian root after debootstrap's first stage:
// unpacked, nothing configured. It lacks /etc/passwd and /etc/group, the links of
// update-alternatives (awk: call mawk), the linker's cache, and dpkg's status of everything.
// /debootstrap has what the second stage needs, and the packages are in var/cache/apt/archives.
func FirstStage(t testing.TB, arch string) string {
	t.Helper()
	need.Root(t)
	need.Program(t, "debootstrap", "debootstrap")
	return firstStage(arch, os.Stderr).For(t)
}

// MakeFirstStage is FirstStage for programs. It needs root and debootstrap.
func MakeFirstStage(ctx context.Context, arch string, progress io.Writer) (string, error) {
	return firstStage(arch, progress).Get(ctx)
}

func firstStage(arch string, progress io.Writer) *fixture.Fixture {
	return &fixture.Fixture{
		Name: "roots/first-stage-" + Suite + "-" + arch, Ext: ".tar",
		What: "the first stage of a Debian root of " + arch,
		From: []string{Suite, "debootstrap --foreign --variant=minbase"},
		Make: func(ctx context.Context, work, made string, held *os.File) error {
			if os.Geteuid() != 0 {
				return fmt.Errorf("there is no %s root in the cache yet, and only root can make one with debootstrap", arch)
			}
			root := filepath.Join(work, "root")
			err := persist(ctx, root, func() error { return debootstrap(ctx, arch, root, held, progress) })
			if err != nil {
				return err
			}
			return run(exec.CommandContext(ctx, "tar", "--numeric-owner", "--sort=name", "-C", root, "-cf", made, "."))
		},
	}
}

// persist calls download into a directory until it succeeds, a few times, each time with the
// directory empty, since mirrors fail in passing.
func persist(ctx context.Context, dir string, download func() error) error {
	return patience.Attempt(ctx, func() error {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		return download()
	})
}

// patience is how long debootstrap's wget and mmdebstrap's apt wait for a server, twice for each
// file, and how often a root is tried.
var patience = apt.Patience{Answer: 8 * time.Second, Pauses: []time.Duration{time.Second, 3 * time.Second}}

// wgetrc makes debootstrap's wget end soon if nobody answers: by default it would wait for hours.
// A user with settings of his own does not get it.
func wgetrc(dir string) ([]string, error) {
	home, err := os.UserHomeDir()
	if _, statErr := os.Stat(filepath.Join(home, ".wgetrc")); err == nil && statErr == nil || os.Getenv("WGETRC") != "" {
		return nil, nil
	}
	path := filepath.Join(dir, "wgetrc")
	return []string{"WGETRC=" + path}, os.WriteFile(path, fmt.Appendf(nil, "timeout = %d\ntries = 2\n", int(patience.Answer.Seconds())), 0o644)
}

// debootstrap runs the first stage. It inherits the lock's file: if we are killed, the next
// process waits until it has ended, too.
func debootstrap(ctx context.Context, arch, root string, locked *os.File, progress io.Writer) error {
	mirror, err := apt.Mirror(ctx)
	if err != nil {
		return fmt.Errorf("which mirror does apt use: %w", err)
	}
	args := []string{"--foreign", "--arch=" + arch, "--variant=minbase", Suite, root}
	if mirror != "" {
		args = append(args, mirror)
	}
	cmd := exec.CommandContext(ctx, "debootstrap", args...)
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	bounds, err := wgetrc(filepath.Dir(root))
	if err != nil {
		return err
	}
	cmd.Env = append(cmd.Env, bounds...)
	if cmd.Path, err = exec.LookPath("debootstrap"); err != nil {
		cmd.Path, cmd.Err = "/usr/sbin/debootstrap", nil
	}
	cmd.ExtraFiles = []*os.File{locked}
	out, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	said := make(chan string)
	go func() { said <- follow(out, arch, progress) }()
	err = cmd.Run()
	w.Close()
	if text := <-said; err != nil {
		return fmt.Errorf("debootstrap of %s for %s: %w: %s", Suite, arch, err, apt.Reason(text))
	}
	return plainProc(root)
}

// follow turns debootstrap's lines into a few lines of progress, and returns them all.
func follow(r io.Reader, arch string, progress io.Writer) string {
	var said strings.Builder
	var retrieved, extracted int
	last := time.Now()
	fmt.Fprintf(progress, "lab: debootstrap makes a Debian %s root for %s\n", Suite, arch)
	for lines := bufio.NewScanner(r); lines.Scan(); {
		line := lines.Text()
		said.WriteString(line + "\n")
		switch {
		case strings.HasPrefix(line, "I: Retrieving "):
			retrieved++
		case strings.HasPrefix(line, "I: Extracting "):
			extracted++
		}
		if time.Since(last) >= 5*time.Second {
			fmt.Fprintf(progress, "lab: %s root: %d files retrieved, %d packages unpacked\n", arch, retrieved, extracted)
			last = time.Now()
		}
	}
	return said.String()
}

// plainProc replaces the symbolic link that debootstrap makes of proc in a container, since that
// would lead to the container's own /proc.
func plainProc(root string) error {
	proc := filepath.Join(root, "proc")
	if fi, err := os.Lstat(proc); err != nil || fi.Mode().Type() != fs.ModeSymlink {
		return err
	}
	if err := os.Remove(proc); err != nil {
		return err
	}
	return os.Mkdir(proc, 0o555)
}

// Unpack gives a fresh copy of an archive of a root in a directory of the test's own; it takes
// about a second. An ordinary user gets it without the device nodes, and owns all files.
func Unpack(t testing.TB, archive string) string {
	t.Helper()
	dir := t.TempDir()
	args := []string{"--numeric-owner", "-C", dir, "-xpf", archive}
	if os.Geteuid() != 0 {
		args = append(args, "--exclude=./dev/*")
	}
	if err := run(exec.Command("tar", args...)); err != nil {
		t.Fatal(err)
	}
	return dir
}
