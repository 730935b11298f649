// Package bootstrap makes roots of other architectures, by the distributions' own bootstrappers or
// from container images.
//
// All the work is done in a user and a mount namespace (emu/userns) in which the architecture's
// programs run. The bootstrapper thinks that it is root and that the machine has an emulator
// registered, and its mounts end with the namespace. The root grows beside its place, in a
// directory that says what it is, and is moved to its place when it is complete: an interrupted
// run leaves nothing that looks like a root.
//
// Whoever may write beside that place, or above it, can replace the names that lead to it while
// root writes there. So the directory is made and opened once (growing.Dir), and this package uses
// its descriptor. A bootstrapper takes a path. It gets one that nobody can exchange: the directory
// is mounted a second time, in our own mount namespace (shelter).
package bootstrap

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"binproxy/emu/arch"
	"binproxy/emu/binfmt"
	"binproxy/emu/command"
	"binproxy/emu/entrypoint"
	"binproxy/emu/exit"
	"binproxy/emu/growing"
	"binproxy/emu/sys"
	"binproxy/emu/userns"
)

// Options describe the root to make.
type Options struct {
	ABI      *arch.ABI
	Dir      string
	From     string   // a backend, or oci:DIR[:REF] or tar:FILE
	Suite    string   // "" for the backend's default
	Mirror   string   // "" for the bootstrapper's own
	Variant  string   // "" for minbase; custom for only Include
	Include  []string // packages
	Keyring  string   // "" for the bootstrapper's own
	Emulator string   // "" to search for it
	Route    string   // RouteUserns, RouteSupervise; "" for the first one that works
	Restart  bool     // remove what an interrupted run left
}

// job is the work in the namespaces.
type job struct {
	Options
	ABI     string         // instead of the row
	Only    bool           // only remove what an interrupted run left
	Entries []binfmt.Entry // entries that programs of the root still need in order to run
}

func (j *job) Fields(w *entrypoint.Words) {
	w.String(&j.ABI, &j.Dir, &j.From, &j.Suite, &j.Mirror, &j.Variant)
	w.Strings(&j.Include)
	w.String(&j.Keyring, &j.Emulator, &j.Route)
	w.Bool(&j.Restart, &j.Only)
	entrypoint.List(w, &j.Entries, func(w *entrypoint.Words, e *binfmt.Entry) { e.Fields(w) })
}

// Run makes the root.
func Run(o Options) error {
	if err := checkDir(&o); err != nil {
		return err
	}
	if err := leftover(o); err != nil {
		return err
	}
	if !isImage(o.From) {
		if _, err := commands(o, "/nowhere"); err != nil {
			return err
		}
	} else if err := absoluteSource(&o); err != nil {
		return err
	}
	return inside(o, job{Options: o, ABI: o.ABI.Name})
}

// Remove removes what an interrupted run left for the directory, and a root there that this user
// made.
func Remove(dir string) error {
	o := Options{Dir: dir}
	path, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	o.Dir = path
	if _, err := os.Lstat(o.partial()); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("no interrupted bootstrap of %s (there is no %s)", path, o.partial())
	}
	return inside(o, job{Options: o, Only: true})
}

// inside runs the job in namespaces where programs of the architecture run.
func inside(o Options, j job) error {
	var abis []*arch.ABI
	emulators := map[string]string{}
	if o.ABI != nil {
		abis = append(abis, o.ABI)
		emulators[o.ABI.QEMU] = o.Emulator
	}
	entries, err := binfmt.Entries(abis, emulators)
	if err != nil {
		return err
	}
	ids, ok, err := userns.Household()
	if err != nil {
		return err
	}
	if !ok {
		return userns.NoSubordinates()
	}
	ids.PID = true // an interrupted run leaves no process, either
	j.Entries = entries
	argv, err := entrypoint.Argv(entrypoint.Bootstrap, &j)
	if err != nil {
		return err
	}
	err = userns.Run(userns.Command{IDs: ids, Command: command.Command{Name: entrypoint.Self, Argv: argv, Env: os.Environ()}})
	if signal := exit.Code(err) - exit.Signal; signal > 0 {
		return exit.Died(syscall.Signal(signal)) // a namespace's first process cannot
	}
	return err
}

// checkDir refuses a directory that is already in use, and makes the paths absolute, because
// bootstrappers differ in the start of relative ones.
func checkDir(o *Options) error {
	path, err := filepath.Abs(o.Dir)
	if err != nil {
		return err
	}
	o.Dir = path
	if o.Keyring != "" {
		if o.Keyring, err = filepath.Abs(o.Keyring); err != nil {
			return err
		}
	}
	if fi, err := os.Stat(filepath.Dir(path)); err != nil || !fi.IsDir() {
		return fmt.Errorf("%s: the directory that it is to be in does not exist", path)
	}
	fi, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !fi.IsDir():
		return fmt.Errorf("%s exists and is no directory; a root is made in a new or an empty one", path)
	}
	entries, err := os.ReadDir(path)
	if err == nil && len(entries) > 0 {
		err = fmt.Errorf("%s is not empty; a root is made in a new or an empty directory", path)
	}
	return err
}

// partial is where the root grows: beside its place, so on the same file system.
func (o Options) partial() string {
	return filepath.Join(filepath.Dir(o.Dir), "."+filepath.Base(o.Dir)+".bootstrap")
}

// leftover refuses to go on if an interrupted run left something, unless that is to be removed.
func leftover(o Options) error {
	state, err := os.ReadFile(filepath.Join(o.partial(), markName))
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Lstat(o.partial()); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	}
	if o.Restart {
		return nil
	}
	said, _, _ := strings.Cut(string(state), "\n")
	return fmt.Errorf("%s is what an interrupted run left (%s); `binproxy bootstrap --remove %s` removes it, --restart does and begins anew", o.partial(), said, o.Dir)
}

// markName is the file in a partial directory that says what it is.
const markName = "bootstrap-is-not-finished"

// Inside is the job: it runs as root of the namespace.
func Inside(words []string) error {
	var j job
	if err := entrypoint.Read(words, &j); err != nil {
		return err
	}
	j.Options.ABI = arch.Get(j.ABI)
	if len(j.Entries) > 0 {
		if over, err := j.open(); over {
			return err
		}
	}
	go j.endOnSignal()
	syscall.Umask(0o022) // everybody may use a root
	if j.Only || j.Restart {
		if err := j.removeLeft(); err != nil || j.Only {
			return err
		}
	}
	return j.make()
}

// removeLeft removes what an interrupted run left. The mark is the first file in it, and the last
// that is removed.
func (j job) removeLeft() error {
	g, err := growing.Open(j.partial())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer g.Close()
	entries, err := os.ReadDir(g.Path())
	if err != nil {
		return err
	}
	if _, err := os.Lstat(filepath.Join(g.Path(), markName)); err != nil && len(entries) > 0 {
		return fmt.Errorf("%s is nothing that a bootstrap left: %w", j.partial(), err)
	}
	return g.Remove(markName)
}

// make makes the root beside its place, and moves it there.
func (j job) make() error {
	g, err := j.start()
	if err != nil {
		return err
	}
	defer g.Close()
	if err := j.fill(g.Path()); err != nil {
		return fmt.Errorf("%w\n%s", err, j.unfinished())
	}
	if err := settle(g.Path()); err != nil {
		return err
	}
	if err := g.Put(rootName, filepath.Base(j.Dir)); err != nil {
		return err
	}
	return g.Remove(markName)
}

// endOnSignal ends process 1 of the namespace, which the kernel would not do, and so all others.
func (j job) endOnSignal() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	s := <-signals
	fmt.Fprintf(os.Stderr, "binproxy: bootstrap: ended by signal %d (%v)\n", s, s)
	if _, err := os.Stat(j.partial()); err == nil {
		fmt.Fprintln(os.Stderr, j.unfinished())
	}
	os.Exit(exit.Signal + int(s.(syscall.Signal)))
}

func (j job) unfinished() string {
	return fmt.Sprintf("The unfinished root is in %s; `binproxy bootstrap --remove %s` removes it", j.partial(), j.Dir)
}

// rootName is the root's name in the partial directory.
const rootName = "root"

// start makes the partial directory with its mark before anything else is in it.
func (j job) start() (*growing.Dir, error) {
	g, err := growing.Make(j.partial())
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("%w: root of the user namespace may write only where owner and group are you or your subordinate ids; "+
			"choose another place, or chgrp %s", err, filepath.Dir(j.Dir))
	} else if err != nil {
		return nil, err
	}
	suite := ""
	if j.Suite != "" {
		suite = " --suite " + j.Suite
	}
	mark := fmt.Sprintf("--arch %s --from %s%s, for %s\n", j.ABI, j.From, suite, j.Dir)
	if err := os.WriteFile(filepath.Join(g.Path(), markName), []byte(mark), 0o644); err != nil {
		return nil, err
	}
	root := filepath.Join(g.Path(), rootName)
	if err := os.Mkdir(root, 0o755); err != nil {
		return nil, err
	}
	return g, os.Chmod(root, 0o755) // whatever the umask
}

// fill fills the root in the directory at this path.
func (j job) fill(partial string) error {
	if isImage(j.From) {
		return unpackImage(j.Options, filepath.Join(partial, rootName), os.Stderr)
	}
	partial, err := j.shelter(partial)
	if err != nil {
		return err
	}
	root := filepath.Join(partial, rootName)
	steps, err := commands(j.Options, root)
	if err != nil {
		return err
	}
	home, temp := beside(root, "home"), beside(root, "tmp")
	if err := errors.Join(os.Mkdir(home, 0o700), os.Mkdir(temp, 0o700), os.Chmod(temp, fs.ModeSticky|0o777)); err != nil {
		return err
	}
	for _, s := range steps {
		if err := s.run(home, temp); err != nil {
			return err
		}
	}
	return nil
}

// shelter mounts the directory at a path in which nobody can replace a name: over the first of
// these directories that is empty. It returns that path. No other process sees the mount.
func (j job) shelter(partial string) (string, error) {
	for _, dir := range [...]string{"/mnt", "/media", "/srv", "/opt", "/var/opt", "/var/local"} {
		if entries, err := os.ReadDir(dir); err == nil && len(entries) == 0 {
			return dir, sys.Bind(partial, dir)
		}
	}
	fmt.Fprintf(os.Stderr, "binproxy: bootstrap: none of /mnt, /media, /srv and /opt is empty; whoever can write beside %s, or above it, must not do so while the root is made\n", j.Dir)
	return j.partial(), nil
}

// settle corrects what the bootstrappers do differently in a namespace. The root's links are not
// ours, so an os.Root keeps them inside.
func settle(partial string) error {
	root, err := os.OpenRoot(filepath.Join(partial, rootName))
	if err != nil {
		return err
	}
	defer root.Close()
	// If debootstrap takes this for a container, it makes proc a link, which leads to itself.
	if fi, err := root.Lstat("proc"); err == nil && fi.Mode().Type() == fs.ModeSymlink {
		if err := errors.Join(root.Remove("proc"), root.Mkdir("proc", 0o555)); err != nil {
			return err
		}
	}
	// A program wrote to /dev/null before that device existed: debootstrap binds the host's only
	// for a while.
	if fi, err := root.Lstat("dev/null"); err == nil && fi.Mode().IsRegular() {
		return root.Remove("dev/null")
	}
	return nil
}
