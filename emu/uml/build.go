package uml

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"binproxy/emu/sys"
)

// BuildOptions describe one build. Version is a kernel series (6.12) of Debian's or the machine's
// own sources, "" for the newest. Source is a tar file of a kernel's source, to use instead of a
// package.
type BuildOptions struct {
	Version, Source string
	Progress        io.Writer
}

// fragment is the configuration, added to allnoconfig.
//
//go:embed fragment.config
var fragment []byte

// tools are the programs that a build calls, and the Debian packages that contain them.
var tools = [][2]string{{"make", "make"}, {"gcc", "gcc"}, {"ld", "binutils"}, {"strip", "binutils"}, {"flex", "flex"}, {"bison", "bison"}, {"bc", "bc"}, {"tar", "tar"}, {"xz", "xz-utils"}}

// builder is a build in progress.
type builder struct {
	ctx      context.Context
	options  BuildOptions
	cache    string // the directory of the kernels
	work     string // a directory for this build, removed at its end
	log      *os.File
	progress func(format string, args ...any)
}

// Build makes a kernel and returns its path in the cache. If the cache has one of the same source
// and configuration, it returns that.
func Build(o BuildOptions) (string, error) {
	return locked(o, func(b *builder) (string, error) {
		if err := haveTools(tools); err != nil {
			return "", err
		}
		return b.build()
	})
}

// locked makes a kernel while no other process does. A signal ends it, and removes what it has
// made.
func locked(o BuildOptions, make func(*builder) (string, error)) (string, error) {
	if err := forHost(); err != nil {
		return "", err
	}
	cache, err := CacheDir()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	lock, err := sys.LockFile(ctx, filepath.Join(cache, "lock"))
	if err != nil {
		return "", interruptedOr(ctx, err)
	}
	defer lock.Close()
	if err := sweep(cache); err != nil {
		return "", err
	}
	b := &builder{ctx: ctx, options: o, cache: cache}
	b.progress = func(format string, args ...any) { fmt.Fprintf(o.Progress, format+"\n", args...) }
	path, err := make(b)
	return path, interruptedOr(ctx, err)
}

// interruptedOr returns a short error if a signal caused the long one.
func interruptedOr(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return errors.New("interrupted")
	}
	return err
}

func haveTools(tools [][2]string) error {
	var missing []string
	for _, t := range tools {
		if _, err := exec.LookPath(t[0]); err != nil {
			missing = append(missing, t[1])
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return fmt.Errorf("programs are missing; install the packages %s", strings.Join(slices.Compact(missing), " "))
	}
	return nil
}

// workPrefix is the start of the name of a build's directory.
const workPrefix = "build-"

// sweep removes the directories of builds that were killed. Its caller has the lock, so no build
// is in progress.
func sweep(cache string) error {
	dead, err := filepath.Glob(filepath.Join(cache, workPrefix+"*"))
	for _, dir := range dead {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	return err
}

func (b *builder) build() (string, error) {
	var source *debian
	if b.options.Source == "" {
		var err error
		if source, err = b.sourcePackage(); err != nil {
			return "", err
		}
		if dir := filepath.Join(b.cache, source.release()); isMade(dir, fragment) {
			b.progress("%s is there already", source.release())
			return filepath.Join(dir, "linux"), nil
		}
	}
	cleanUp, err := b.begin()
	if err != nil {
		return "", err
	}
	defer cleanUp()
	archive := b.options.Source
	if source != nil {
		if archive, err = b.archive(source); err != nil {
			return "", err
		}
	}
	if err := b.unpack(archive); err != nil {
		return "", err
	}
	if source != nil {
		if err := os.Remove(archive); err != nil {
			return "", err
		}
	}
	if err := b.compile(); err != nil {
		return "", err
	}
	return b.install()
}

// begin makes the work directory and the log.
func (b *builder) begin() (cleanUp func(), err error) {
	if b.work, err = os.MkdirTemp(b.cache, workPrefix); err != nil {
		return nil, err
	}
	if b.log, err = os.Create(filepath.Join(b.work, "log")); err != nil {
		os.RemoveAll(b.work)
		return nil, err
	}
	return func() {
		b.log.Close()
		os.RemoveAll(b.work)
	}, nil
}

// isMade reports whether a directory of the cache has a kernel of this configuration.
func isMade(dir string, fragment []byte) bool {
	made, err := os.ReadFile(filepath.Join(dir, "config"))
	return err == nil && bytes.Equal(made, fragment)
}

// compile configures and builds. The kernel does not record who built it, where and when.
func (b *builder) compile() error {
	config := filepath.Join(b.work, "fragment.config")
	if err := os.WriteFile(config, fragment, 0o644); err != nil {
		return err
	}
	src := filepath.Join(b.work, "src")
	common := []string{"ARCH=um", "KBUILD_BUILD_USER=binproxy", "KBUILD_BUILD_HOST=binproxy", "KBUILD_BUILD_TIMESTAMP=@0"}
	if err := b.command(src, "make", append(common, "allnoconfig", "KCONFIG_ALLCONFIG="+config)...); err != nil {
		return err
	}
	b.progress("compile, with %d processors", runtime.NumCPU())
	if err := b.command(src, "make", append(common, fmt.Sprintf("-j%d", runtime.NumCPU()), "linux")...); err != nil {
		return err
	}
	return b.command(src, "strip", "linux")
}

// command runs a program with its output in the log, reports how many files it has compiled, and
// puts the log's end into its error.
func (b *builder) command(dir, name string, args ...string) error {
	cmd := exec.CommandContext(b.ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "MAKEFLAGS=", "MAKELEVEL=")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// make, and what make started
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		return err
	}
	var tail []string
	compiled := 0
	for lines := bufio.NewScanner(out); lines.Scan(); {
		line := lines.Text()
		fmt.Fprintln(b.log, line)
		if tail = append(tail, line); len(tail) > 2*logLines {
			tail = slices.Clone(tail[logLines:])
		}
		if strings.HasPrefix(line, "  CC ") {
			if compiled++; compiled%100 == 0 {
				b.progress("%d files", compiled)
			}
		}
	}
	io.Copy(b.log, out) // what the scanner did not read: a line without end
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%s %s: %w; the end of its output:\n%s", name, args[0], err, strings.Join(tail[max(0, len(tail)-logLines):], "\n"))
	}
	return nil
}

// install puts the kernel into the cache in one step.
func (b *builder) install() (string, error) {
	k, err := Open(filepath.Join(b.work, "src", "linux"))
	if err != nil {
		return "", err
	}
	made := filepath.Join(b.work, "made")
	if err := os.Mkdir(made, 0o755); err != nil {
		return "", err
	}
	if err := os.Rename(k.Path, filepath.Join(made, "linux")); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(made, "config"), fragment, 0o644); err != nil {
		return "", err
	}
	dir := filepath.Join(b.cache, k.Release)
	if err := replace(made, dir); err != nil {
		return "", err
	}
	b.progress("made %s", k.Release)
	if err := runsOn(k.Release, hostRegisters()); err != nil {
		b.progress("%s %v", k.Release, err)
	}
	return filepath.Join(dir, "linux"), nil
}

// replace moves a directory to another's place, in one step if the file system can. The content of
// that place moves to the directory's.
func replace(made, dir string) error {
	err := os.Rename(made, dir)
	if errors.Is(err, fs.ErrExist) { // there is one, and it is not empty
		err = sys.Exchange(made, dir)
	}
	if errors.Is(err, errors.ErrUnsupported) {
		if err = os.Rename(dir, made+"-before"); err == nil {
			err = os.Rename(made, dir)
		}
	}
	return err
}
