package container

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"binproxy/emu/sys"
)

// Process runs in a container.
type Process struct {
	PID  int
	Name string // as in /proc/PID/comm
}

func (p Process) String() string { return fmt.Sprintf("%d (%s)", p.PID, p.Name) }

// State is a container, whether it can be entered, and the processes in it.
type State struct {
	Container
	Alive     bool
	Processes []Process
}

// List returns the state of every container in the caller's store.
func List() ([]State, error) {
	store, err := Open()
	if err != nil {
		return nil, err
	}
	defer store.Close()
	names, err := store.Names()
	if err != nil {
		return nil, err
	}
	var all []State
	for _, name := range names {
		c, err := store.Get(name)
		if err != nil {
			c = Container{Name: name} // a record that cannot be read
		}
		s := State{Container: c, Alive: store.Alive(c)}
		if s.Alive {
			if s.Processes, err = c.processes(); err != nil {
				return nil, err
			}
		}
		all = append(all, s)
	}
	return all, nil
}

// Remove releases a container in which nothing runs. Its root, and the host's files that were
// mounted in it, stay as they are.
func Remove(name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	store, err := Open()
	if err != nil {
		return err
	}
	defer store.Close()
	c, err := store.Get(name)
	if errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err != nil || !store.Alive(c) {
		return store.clear(name) // it cannot be entered, so no process is in it
	}
	running, err := c.processes()
	if err != nil {
		return err
	}
	if len(running) > 0 {
		return fmt.Errorf("container %s: there still runs in it: %s; end that first", name, listed(running))
	}
	if !store.root {
		if err := c.Anchor.end(); err != nil {
			return err
		}
	}
	return store.clear(name)
}

func listed(processes []Process) string {
	var names []string
	for _, p := range processes {
		names = append(names, p.String())
	}
	return strings.Join(names, ", ")
}

// processes finds the processes in the container's mount namespace, except its anchor. Processes
// that the caller may not look at are not his.
func (c Container) processes() ([]Process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	namespace := fmt.Sprintf("mnt:[%d]", c.MountNS)
	var running []Process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == c.Anchor.PID {
			continue
		}
		if ns, err := os.Readlink("/proc/" + e.Name() + "/ns/mnt"); err != nil || ns != namespace {
			continue
		}
		comm, _ := os.ReadFile("/proc/" + e.Name() + "/comm")
		running = append(running, Process{pid, strings.TrimSpace(string(comm))})
	}
	return running, nil
}

// end ends the anchor and waits until it is gone. It uses a pidfd, so that it ends the very
// process that it has checked.
func (a Anchor) end() error {
	fd, err := unix.PidfdOpen(a.PID, 0)
	if err != nil {
		return os.NewSyscallError("pidfd_open", err)
	}
	defer unix.Close(fd)
	if !a.alive() {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil {
		return os.NewSyscallError("pidfd_send_signal", err)
	}
	_, err = sys.Readable(fd, -1)
	return os.NewSyscallError("poll", err)
}
