package container

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"binproxy/emu/arch"
	"binproxy/emu/binfmt"
	"binproxy/emu/elfinfo"
	"binproxy/emu/entrypoint"
	"binproxy/emu/exit"
	"binproxy/emu/identity"
	"binproxy/emu/sys"
	"binproxy/emu/userns"
)

// Options describe the container to make.
type Options struct {
	ABI      *arch.ABI
	Location string   // the root
	Name     string   // "" for the ABI's own
	Binds    []string // SRC[:DST]
	NoHome   bool     // leave out the home directories
	// "" for the first that works: the host's entry, if it has F; a namespace's own; a supervisor
	Route    string
	Emulator string // "" to search for it
	// what uname(2) and the kernel's files show in it; empty fields are the kernel's
	Identity identity.Identity
	Warn     func(format string, args ...any)

	failAt int // for a test: this step of the child fails, counted from 1
}

// plan is the message to the child.
type plan struct {
	ABI      string
	Location string
	Mounts   []mount
	Entries  []binfmt.Entry // to register; if there are none, the host's apply
	Emulator bool           // there is an emulator at emulatorFD, for supervisors
	Identity identity.Identity
	NoSetID  bool        // set-user-ID bits in the root have no effect
	Inner    *userns.IDs // who holds the container in the end, if that is not its maker
	FailAt   int

	emulator *os.File // becomes the child's emulatorFD
}

func (p *plan) Fields(w *entrypoint.Words) {
	w.String(&p.ABI, &p.Location)
	entrypoint.List(w, &p.Mounts, func(w *entrypoint.Words, m *mount) {
		w.String(&m.Source, &m.At)
		w.Bool(&m.File)
	})
	entrypoint.List(w, &p.Entries, func(w *entrypoint.Words, e *binfmt.Entry) { e.Fields(w) })
	w.Bool(&p.Emulator, &p.NoSetID)
	w.String(p.Identity.Values()...)
	entrypoint.Optional(w, &p.Inner, func(w *entrypoint.Words, ids *userns.IDs) { ids.Fields(w) })
	entrypoint.Number(w, &p.FailAt)
}

// report is the child's answer.
type report struct {
	Error    string
	NoBinfmt bool // the error: the kernel accepts no entry of the namespace's own
	PID      int  // the process that holds the namespaces
}

// Create makes a container. If nobody chose a route and the kernel accepts no entry of the
// namespace's own, it takes another route.
func Create(o Options) (Container, error) {
	c, err := create(o)
	if errors.Is(err, errNoBinfmt) && o.Route == "" {
		if o.Route, err = withoutBinfmt(o.ABI, err, o.Warn); err == nil {
			return create(o)
		}
	}
	return c, err
}

// errNoBinfmt means that the kernel refused an entry of the namespace's own.
const errNoBinfmt = exit.Sentinel("no binfmt_misc of the container's own")

// withoutBinfmt returns the route if the kernel has refused an entry.
func withoutBinfmt(abi *arch.ABI, refusal error, warn func(string, ...any)) (string, error) {
	entries, err := hostEntries(abi)
	if err != nil {
		return "", err
	}
	if slices.ContainsFunc(entries, fixed) {
		warn("%v; the host's entry takes its place", refusal)
		return RouteKernel, nil
	}
	warn("%v; a supervisor takes its place", refusal)
	return RouteSupervise, nil
}

func create(o Options) (Container, error) {
	c, p, err := prepare(&o)
	if err != nil {
		return Container{}, err
	}
	if p.emulator != nil {
		defer p.emulator.Close()
	}
	store, err := Open()
	if err != nil {
		return Container{}, err
	}
	defer store.Close()
	if err := store.free(c.Name); err != nil {
		return Container{}, err
	}
	ids, err := ids(&c, &p)
	if err != nil {
		return Container{}, err
	}
	return c, store.make(&c, ids, p)
}

// make starts the child and pins what it made. From Linux 6.18 on a mount namespace can be pinned
// only in one with a smaller number, and each processor hands out numbers in batches: the child's
// number is certainly greater only on the processor where ours was made. So make tries each
// processor.
func (s *Store) make(c *Container, ids userns.IDs, p plan) error {
	attempt := func() error {
		holder, err := start(ids, p)
		if err != nil {
			return err
		}
		defer holder.release()
		return s.hold(c, holder, p.emulator)
	}
	err := attempt()
	if !errors.Is(err, errCannotPin) {
		return err
	}
	cpus, listErr := sys.CPUs()
	for _, cpu := range cpus {
		if errors.Is(err, errCannotPin) {
			err = sys.OnCPU(cpu, attempt)
		}
	}
	return errors.Join(err, listErr)
}

// errCannotPin is mount(2)'s EINVAL for a namespace that the kernel takes for an older one than
// ours.
const errCannotPin = exit.Sentinel("the kernel does not let the mount namespace be pinned")

// prepare checks everything that can be checked before anything is done.
func prepare(o *Options) (Container, plan, error) {
	if o.Name == "" {
		o.Name = o.ABI.Name
	}
	if err := CheckName(o.Name); err != nil {
		return Container{}, plan{}, err
	}
	location, err := checkLocation(o)
	if err != nil {
		return Container{}, plan{}, err
	}
	mounts, err := mounts(o)
	if err != nil {
		return Container{}, plan{}, err
	}
	c := Container{Name: o.Name, Arch: o.ABI.Name, Location: location, Identity: o.Identity}
	p := plan{ABI: o.ABI.Name, Location: location, Mounts: mounts, Identity: o.Identity, FailAt: o.failAt}
	for _, m := range mounts {
		c.Mounts = append(c.Mounts, m.At)
	}
	if c.Route, err = pickRoute(o); err != nil {
		return Container{}, plan{}, err
	}
	if c.Route == RouteUserns || c.Route == RouteSupervise {
		emulator, err := binfmt.Emulator(o.ABI, o.Emulator)
		if err != nil {
			return Container{}, plan{}, err
		}
		if c.Route == RouteSupervise {
			p.Emulator = true
			p.emulator, err = os.Open(emulator)
			return c, p, err
		}
		// Flag C is for sudo and su: a user who misuses the emulator gets only the rights of this
		// namespace's root. If that is the host's root, he gets that root's files.
		flags := "POCF"
		if p.NoSetID = os.Geteuid() == 0; p.NoSetID {
			flags = "POF"
		}
		p.Entries = []binfmt.Entry{binfmt.ForABI(o.ABI, emulator, flags)}
	}
	return c, p, nil
}

// checkLocation returns the root's path without links, or says why it cannot be a root.
func checkLocation(o *Options) (string, error) {
	path, err := filepath.Abs(o.Location)
	if err != nil || o.Location == "" {
		return "", errors.Join(err, errors.New("the location is missing: the directory that is to be the root"))
	}
	fi, err := os.Lstat(path)
	if err != nil {
		return "", fmt.Errorf("location: %w; `binproxy bootstrap --arch %s %s` makes a root there", err, o.ABI.Name, path)
	}
	if fi.Mode().Type() == fs.ModeSymlink {
		leads, _ := os.Readlink(path)
		return "", fmt.Errorf("location %s is a symbolic link, to %s; name the directory itself", path, leads)
	}
	if !fi.IsDir() {
		return "", fmt.Errorf("location %s is no directory", path)
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return "", err
	}
	top, err := os.Stat("/")
	if err != nil {
		return "", err
	}
	if os.SameFile(fi, top) {
		return "", fmt.Errorf("location %s is the host's own root; a container needs a root of its own", path)
	}
	return path, checkRoot(o, path)
}

// checkRoot checks the file system and a program of the root.
func checkRoot(o *Options, path string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return &os.PathError{Op: "statfs", Path: path, Err: err}
	}
	if st.Flags&unix.ST_NOEXEC != 0 {
		return fmt.Errorf("location %s is on a file system that is mounted noexec: no program of it could run; move it, or mount -o remount,exec", path)
	}
	if st.Flags&unix.ST_NOSUID != 0 {
		o.Warn("location %s is on a file system that is mounted nosuid: sudo, su and other setuid programs will not work inside", path)
	}
	root, err := os.OpenFile(path, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer root.Close()
	shell, err := sys.OpenIn(root, "/bin/sh", unix.O_RDONLY|unix.O_NONBLOCK)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("location %s has no /bin/sh: it is no root that one could live in; `binproxy bootstrap --arch %s DIR` makes one", path, o.ABI.Name)
	}
	if err != nil {
		return err
	}
	defer shell.Close()
	info, err := elfinfo.Read(shell)
	if err != nil {
		return fmt.Errorf("location %s: its /bin/sh: %w", path, err)
	}
	is := info.ABI()
	if is == nil || is.QEMU != o.ABI.QEMU {
		name := "an architecture that binproxy does not know"
		if is != nil {
			name = is.Name
		}
		return fmt.Errorf("location %s is a root of %s, by its /bin/sh, and not of %s", path, name, o.ABI.Name)
	}
	return nil
}

// pickRoute picks how programs reach the emulator. A container needs an entry with F: without it
// the emulator's path would have to be in the root, where a package can overwrite it.
func pickRoute(o *Options) (string, error) {
	if o.ABI.Native(arch.Host()) {
		return RouteNative, nil
	}
	if o.Route == RouteSupervise {
		return RouteSupervise, nil
	}
	if o.Route == RouteUserns || o.Route == "" && os.Geteuid() != 0 {
		return RouteUserns, nil // an ordinary user has a user namespace anyway
	}
	entries, err := hostEntries(o.ABI)
	if err != nil {
		return "", err
	}
	if slices.ContainsFunc(entries, fixed) {
		return RouteKernel, nil
	}
	if o.Route == RouteKernel {
		return "", fmt.Errorf("the host has no entry with flag F for %s programs; `binproxy binfmt register %s` makes one", o.ABI.Name, o.ABI.Name)
	}
	return RouteUserns, nil
}

func fixed(e binfmt.Entry) bool { return e.Has(binfmt.FixBinary) }

func hostEntries(abi *arch.ABI) ([]binfmt.Entry, error) {
	registry, err := binfmt.Host()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return registry.Serving(abi)
}

// ids: root's container needs a user namespace only for entries of its own. An ordinary user's has
// his subordinate ids; if he has none, it has only him, and he is also the root that makes it.
func ids(c *Container, p *plan) (userns.IDs, error) {
	if os.Geteuid() == 0 && c.Route != RouteUserns {
		return userns.IDs{None: true}, nil
	}
	ids, ok, err := userns.Household()
	if ok || err != nil {
		return ids, err
	}
	c.Single = true
	ids, p.Inner, err = userns.Self()
	return ids, err
}

// free refuses a name that is taken, and removes the remains of a killed create.
func (s *Store) free(name string) error {
	c, err := s.Get(name)
	if err == nil && s.Alive(c) {
		return fmt.Errorf("container %s exists, with %s as its root; choose another --name, or `binproxy container remove %s`", name, c.Location, name)
	}
	return s.clear(name)
}

// holder is the child that made the namespaces, and that waits to be kept or ended.
type holder struct {
	pid   int
	stays *os.File // "stay" makes it the anchor; closing without that ends the child
	wait  func()
}

// start starts the child and waits until it has made the container.
func start(ids userns.IDs, p plan) (*holder, error) {
	answer, answerChild, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	staysChild, stays, err := os.Pipe()
	if err != nil {
		answerChild.Close()
		return nil, err
	}
	files := []*os.File{answerChild, staysChild}
	if p.emulator != nil {
		files = append(files, p.emulator)
	}
	cmd, err := userns.Child{IDs: ids, Detached: true, Files: files}.Start(entrypoint.Make, &p)
	answerChild.Close()
	staysChild.Close()
	if err != nil {
		stays.Close()
		return nil, err
	}
	h := &holder{stays: stays, wait: func() { _ = cmd.Wait() }}
	var r report
	err = json.NewDecoder(answer).Decode(&r)
	if err != nil {
		err = fmt.Errorf("the process that makes the container ended without an answer: %w", err)
	} else if r.NoBinfmt {
		err = fmt.Errorf("%w: %s", errNoBinfmt, r.Error)
	} else if r.Error != "" {
		err = errors.New(r.Error)
	}
	if err != nil {
		h.release()
		h.wait()
		return nil, err
	}
	h.pid = r.PID
	return h, nil
}

// release lets the child end, unless it was told to stay.
func (h *holder) release() { h.stays.Close() }

// hold keeps the namespaces, by pins or by the child, and writes the record. The record comes
// before the pin: without a pin there is no container yet.
func (s *Store) hold(c *Container, h *holder, emulator *os.File) error {
	dir := "/proc/" + strconv.Itoa(h.pid) + "/ns/"
	f, err := os.Open(dir + "mnt")
	if err != nil {
		return err
	}
	defer f.Close()
	if c.MountNS, err = namespaceInode(f); err != nil {
		return err
	}
	if !s.root {
		if c.Anchor.Start, err = startTime(h.pid); err != nil {
			return err
		}
		c.Anchor.PID = h.pid
		if err := s.put(*c); err != nil {
			return errors.Join(err, s.clear(c.Name))
		}
		_, err = h.stays.WriteString("stay\n")
		return err
	}
	err = s.put(*c)
	if err == nil {
		err = s.pinAll(*c, dir, emulator)
	}
	if err != nil {
		return errors.Join(err, s.clear(c.Name))
	}
	h.release()
	h.wait()
	return nil
}

// pinAll pins the namespaces, and the emulator if no entry keeps it open.
func (s *Store) pinAll(c Container, dir string, emulator *os.File) error {
	is, err := sys.IsMount(s.Dir)
	if err != nil {
		return err
	}
	if !is {
		if err := sys.OwnMount(s.Dir); err != nil {
			return err
		}
	}
	if c.Route == RouteUserns {
		if err := pin(dir+"user", s.userPin(c.Name)); err != nil {
			return err
		}
	}
	if emulator != nil {
		if err := pin(sys.FDPath(emulator), s.emulatorPin(c.Name)); err != nil {
			return err
		}
	}
	err = pin(dir+"mnt", s.pin(c.Name))
	if errors.Is(err, unix.EINVAL) {
		err = fmt.Errorf("%w: %w", errCannotPin, err)
	}
	return err
}

func pin(what, at string) error {
	f, err := os.OpenFile(at, os.O_CREATE|os.O_EXCL|os.O_RDONLY, 0o444)
	if err != nil {
		return err
	}
	f.Close()
	return sys.Mount(what, at, "", unix.MS_BIND, "")
}

// clear removes the pins and the record of the name, if they exist.
func (s *Store) clear(name string) error {
	var failures []error
	for _, path := range []string{s.pin(name), s.userPin(name), s.emulatorPin(name)} {
		if !s.root {
			break
		}
		if is, err := sys.IsMount(path); err == nil && is {
			failures = append(failures, sys.Detach(path))
		}
		failures = append(failures, removeIfThere(path))
	}
	return errors.Join(append(failures, removeIfThere(s.record(name)+".new"), removeIfThere(s.record(name)))...)
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
