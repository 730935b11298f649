// Package container makes, keeps and enters architecture emulation containers: a mount namespace
// with a foreign root, in which the host's /proc, /sys, /dev and home directories are mounted.
//
// Create starts a child in a new mount namespace (and in a user namespace, if the entries are to
// be its own). The child does everything by system calls: it separates its mounts from all others,
// binds the root on itself and the host's directories into it, proves that a program of the
// architecture runs, and pivots. Then the namespace is held. Root's is held by a bind mount of the
// namespace on /run/build-container/NAME (nsenter --mount= works on it), an ordinary user's by the
// child, which stays as the anchor. Before that nothing is mounted in the creator's namespace, so
// a failure leaves nothing behind.
//
// The kernel holds the emulator open (flag F). By route supervise there is no entry, and each
// Enter starts a supervisor; there another pin or the anchor holds it. So no package inside can
// overwrite it, and no rm on the host can break the container.
package container

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"binproxy/emu/identity"
	"binproxy/emu/sys"
)

// These are the routes of a container.
const (
	RouteNative = "native" // the kernel runs the programs itself
	RouteKernel = "kernel" // an entry of the host, with flag F
	RouteUserns = "userns" // an entry of the container's own user namespace

	RouteSupervise = "supervise" // a supervisor for each Enter
)

// Container is the store's record of a container.
type Container struct {
	Name, Arch, Location, Route string
	// the places in it where the host's files are mounted
	Mounts   []string
	Identity identity.Identity // the identity that it shows
	MountNS  uint64            // the inode of its mount namespace
	Anchor   Anchor            // of an ordinary user's container
	Single   bool              // only the creator's own id exists in it
}

// Anchor is the process that holds an ordinary user's container: its pid, and its start time,
// which distinguishes it from another process with that pid.
type Anchor struct {
	PID   int
	Start uint64 // clock ticks since boot
}

// RootStore is where root's containers are pinned: the place that James Bottomley's
// build-container script uses, which other tools know.
const RootStore = "/run/build-container"

// Store is where containers are kept: a directory with a record for each, and for root the pins.
// While a store is open, it is locked by a file in it that nobody else can open.
type Store struct {
	Dir  string
	root bool
	lock *os.File
}

// Open opens the caller's store, makes it if it is missing, and waits for its lock.
func Open() (*Store, error) {
	if os.Geteuid() == 0 {
		return openStore(RootStore, true)
	}
	runtimeDir := os.Getenv("XDG_RUNTIME_DIR")
	if !filepath.IsAbs(runtimeDir) {
		return nil, errors.New("XDG_RUNTIME_DIR is not set to a directory: an ordinary user's containers are kept there. " +
			"A login makes it, /run/user/" + strconv.Itoa(os.Getuid()) + "; or set it to a directory of yours")
	}
	return openStore(filepath.Join(runtimeDir, "binproxy", "containers"), false)
}

const lockName = ".lock"

func openStore(dir string, root bool) (*Store, error) {
	for {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
		lock, err := sys.LockFile(context.Background(), filepath.Join(dir, lockName))
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed by the last process to leave
		}
		if err != nil {
			return nil, err
		}
		return &Store{Dir: dir, root: root, lock: lock}, nil
	}
}

// Close unlocks the store. It removes an empty store, with its mount.
func (s *Store) Close() {
	if left, err := os.ReadDir(s.Dir); err == nil && len(left) == 1 { // the lock
		_ = os.Remove(s.lock.Name())
		if s.root {
			_ = sys.Detach(s.Dir) // EINVAL if it is no mount
		}
		_ = os.Remove(s.Dir)
		if !s.root {
			_ = os.Remove(filepath.Dir(s.Dir)) // ours, if it is empty
		}
	}
	s.lock.Close()
}

func (s *Store) record(name string) string  { return filepath.Join(s.Dir, "."+name+".json") }
func (s *Store) pin(name string) string     { return filepath.Join(s.Dir, name) }
func (s *Store) userPin(name string) string { return filepath.Join(s.Dir, "."+name+".user") }

// emulatorPin is where root's containers of route supervise have their emulator.
func (s *Store) emulatorPin(name string) string { return filepath.Join(s.Dir, "."+name+".emulator") }

// MaxName is the longest name of a container in bytes.
const MaxName = 64

// CheckName refuses a name that is no plain file name.
func CheckName(name string) error {
	odd := func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '.' || r == '_' || r == '-')
	}
	if name == "" || len(name) > MaxName || name[0] == '.' || name[0] == '-' || strings.ContainsFunc(name, odd) {
		return fmt.Errorf("%q is no name for a container: up to %d letters, digits, and . _ - but not first", name, MaxName)
	}
	return nil
}

// Names lists what is in the store, in order, also the remains of a create that was killed.
func (s *Store) Names() ([]string, error) {
	files, err := os.ReadDir(s.Dir)
	var names []string
	for _, f := range files {
		name, ok := strings.CutSuffix(strings.TrimPrefix(f.Name(), "."), ".json")
		if ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, err
}

// missing is fs.ErrNotExist for a container: its message does not speak of a file.
type missing string

func (m missing) Error() string { return string(m) }

func (m missing) Is(err error) bool { return err == fs.ErrNotExist }

// Get reads a record. The error for a container that does not exist lists the existing ones.
func (s *Store) Get(name string) (Container, error) {
	if err := CheckName(name); err != nil {
		return Container{}, err
	}
	text, err := os.ReadFile(s.record(name))
	if errors.Is(err, fs.ErrNotExist) {
		names, _ := s.Names()
		return Container{}, missing(fmt.Sprintf("there is no container %s in %s; there is %s", name, s.Dir, cmp.Or(strings.Join(names, ", "), "none at all")))
	}
	if err != nil {
		return Container{}, err
	}
	var c Container
	if err := json.Unmarshal(text, &c); err != nil {
		return Container{}, fmt.Errorf("%s: %w; `binproxy container remove %s` clears it away", s.record(name), err, name)
	}
	return c, nil
}

// put writes a record completely or not at all.
func (s *Store) put(c Container) error {
	text, err := json.MarshalIndent(c, "", "\t")
	if err != nil {
		return err
	}
	temp := s.record(c.Name) + ".new"
	if err := os.WriteFile(temp, append(text, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(temp, s.record(c.Name))
}

// namespaces opens the container's namespaces, in the order in which to enter them. fs.ErrNotExist
// means that nothing holds them any more.
func (s *Store) namespaces(c Container) ([]*os.File, error) {
	var paths []string
	if s.root {
		if c.Route == RouteUserns {
			paths = append(paths, s.userPin(c.Name))
		}
		paths = append(paths, s.pin(c.Name))
	} else {
		if !c.Anchor.alive() {
			return nil, fmt.Errorf("the anchor of container %s, process %d, has ended: %w", c.Name, c.Anchor.PID, fs.ErrNotExist)
		}
		dir := fmt.Sprintf("/proc/%d/ns/", c.Anchor.PID)
		paths = append(paths, dir+"user", dir+"mnt")
	}
	var files []*os.File
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			closeAll(files)
			return nil, err
		}
		files = append(files, f)
	}
	if inode, err := namespaceInode(files[len(files)-1]); err != nil || inode != c.MountNS {
		closeAll(files)
		return nil, errors.Join(err, fmt.Errorf("container %s: nothing holds it any more (a create that was killed, or a pin that was unmounted): %w", c.Name, fs.ErrNotExist))
	}
	return files, nil
}

// Alive reports whether the container can be entered.
func (s *Store) Alive(c Container) bool {
	files, err := s.namespaces(c)
	closeAll(files)
	return err == nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// namespaceInode is the inode of a namespace's file; 0 for a file that is none.
func namespaceInode(f *os.File) (uint64, error) {
	var kind unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &kind); err != nil || kind.Type != unix.NSFS_MAGIC {
		return 0, err
	}
	var st unix.Stat_t
	err := unix.Fstat(int(f.Fd()), &st)
	return st.Ino, err
}

// alive reports whether the process is still the recorded one.
func (a Anchor) alive() bool {
	start, err := startTime(a.PID)
	return err == nil && start == a.Start
}

// startTime is field 22 of /proc/PID/stat. The second field ends at the last parenthesis, and may
// contain anything.
func startTime(pid int) (uint64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 20 {
		return 0, fmt.Errorf("/proc/%d/stat: %q", pid, text)
	}
	return strconv.ParseUint(fields[19], 10, 64)
}
