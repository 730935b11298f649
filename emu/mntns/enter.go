package mntns

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"binproxy/emu/arch"
	"binproxy/emu/exit"
	"binproxy/emu/identity"
	"binproxy/emu/supervise"
	"binproxy/emu/sys"
	"binproxy/emu/userns"
)

// InsideEntrypoint is the private mode of the applet container in which Enter's child starts, inside.
const InsideEntrypoint = "enter-inside"

// Visit is what is to run in a container, and as whom.
type Visit struct {
	User string   // a name or number of the container; "" for the caller
	Argv []string // empty for the user's login shell

	// Identity is told in a container that has none of its own.
	Identity identity.Identity
	Proc     identity.Proc `json:",omitempty"`
}

// visit is what the child inside is told: also who the caller is outside, and which directory he is in.
type visit struct {
	Visit
	Single   bool
	Caller   account
	Dir      string
	Dev, Ino uint64
}

// Enter runs the visit in the container, and ends with its exit status. It joins the namespaces in a child, which is this program again and
// finds out in there who the user is.
func Enter(name string, v Visit) error {
	signals := userns.Catch()
	defer signals.Stop()
	pid, err := join(name, v)
	if err != nil {
		return err
	}
	return signals.Wait(pid)
}

func join(name string, v Visit) (pid int, err error) {
	store, err := Open()
	if err != nil {
		return 0, err
	}
	defer store.Close()
	c, err := store.Get(name)
	if err != nil {
		return 0, err
	}
	namespaces, err := store.namespaces(c)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("%w; `binproxy container remove %s` clears it away", err, name)
	}
	if err != nil {
		return 0, err
	}
	defer closeAll(namespaces)
	if !v.Identity.IsZero() && !c.Identity.IsZero() {
		return 0, fmt.Errorf("container %s tells an identity of its own, release %q, and its files in /proc do so for everybody: it cannot tell another one for once", name, c.Identity.Release)
	}
	if v.Identity.IsZero() {
		v.Identity, v.Proc = c.Identity, identity.ProcNo // mounts in the container tell it
	}
	told := visit{Visit: v, Single: c.Single}
	told.here()
	if told.Caller, err = caller(); err != nil {
		return 0, err
	}
	text, err := json.Marshal(told)
	if err != nil {
		return 0, err
	}
	self, err := os.OpenFile("/proc/self/exe", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer self.Close()
	pid, err = sys.Join{
		Namespaces: namespaces,
		Root:       !c.Single && (!store.root || c.Route == RouteUserns), // of the user namespace that there is then
		Exe:        self,
		Argv:       []string{"binproxy", "container", InsideEntrypoint, string(text)},
		Env:        os.Environ(),
	}.Start()
	if err != nil {
		return 0, fmt.Errorf("container %s: %w", name, err)
	}
	return pid, nil
}

// here notes the current directory: its path, and the file that it is, since the container may have another one of that path.
func (v *visit) here() {
	var st unix.Stat_t
	dir, err := os.Getwd()
	if err != nil || unix.Stat(dir, &st) != nil {
		return
	}
	v.Dir, v.Dev, v.Ino = dir, st.Dev, st.Ino
}

// caller is who is to land in the container: behind sudo the user who called it.
func caller() (account, error) {
	uid := strconv.Itoa(os.Getuid())
	if sudo := os.Getenv("SUDO_UID"); uid == "0" && sudo != "" {
		uid = sudo
	}
	u, err := user.LookupId(uid)
	if err != nil {
		// A user without a line in passwd(5) is one, too.
		n, err := strconv.Atoi(uid)
		return account{Name: uid, UID: n, GID: os.Getgid(), Home: os.Getenv("HOME")}, err
	}
	a := account{Name: u.Username, Home: u.HomeDir}
	a.UID, err = strconv.Atoi(u.Uid)
	if err == nil {
		a.GID, err = strconv.Atoi(u.Gid)
	}
	return a, err
}

// Inside is the child's side of Enter: it becomes the user and runs the command. It returns only with an error.
func Inside(text string) error {
	var v visit
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return fmt.Errorf("container: %w", err)
	}
	if !v.Identity.IsZero() {
		return v.supervised()
	}
	a, err := v.account()
	if err != nil {
		return err
	}
	if err := v.become(a); err != nil {
		return err
	}
	v.goHome(a)
	return v.exec(a)
}

// supervised starts all of this once more under a supervisor that tells the identity. It is the container's root that supervises: setuid programs
// get their rights then. Execs are the kernel's as before.
func (v visit) supervised() error {
	c := supervise.Config{Command: "/proc/self/exe", Env: os.Environ(), Guest: func(*arch.ABI) bool { return false }, Identity: v.Identity, Proc: v.Proc}
	v.Identity = identity.Identity{}
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	c.Argv = []string{"binproxy", "container", InsideEntrypoint, string(text)}
	status, err := supervise.Run(c)
	if err != nil {
		return err
	}
	return exit.Ended(status)
}

// account finds the user in the container's own passwd(5), whose shell is one that is there. A caller who is not in it is who he is outside.
func (v visit) account() (account, error) {
	if v.User == "" {
		a, ok, err := lookUp("/etc/passwd", func(a account) bool { return a.UID == v.Caller.UID })
		if !ok {
			a = v.Caller
		}
		return a, err
	}
	number, numeric := strconv.Atoi(v.User)
	a, ok, err := lookUp("/etc/passwd", func(a account) bool { return a.Name == v.User || numeric == nil && a.UID == number })
	switch {
	case err != nil:
		return account{}, err
	case ok:
		return a, nil
	case numeric == nil:
		return account{Name: v.User, UID: number, GID: number, Home: "/"}, nil
	}
	return account{}, fmt.Errorf("there is no user %s in the container's /etc/passwd", v.User)
}

func (v visit) become(a account) error {
	if v.Single {
		if a.UID != os.Getuid() {
			return fmt.Errorf("only user %d exists in this container: %w", os.Getuid(), userns.NoSubordinates())
		}
		return nil
	}
	groups, err := memberships("/etc/group", a.Name)
	if err != nil {
		return err
	}
	for _, step := range []struct {
		call string
		err  func() error
	}{
		{"setgroups", func() error { return syscall.Setgroups(append(groups, a.GID)) }},
		{"setresgid", func() error { return syscall.Setresgid(a.GID, a.GID, a.GID) }},
		{"setresuid", func() error { return syscall.Setresuid(a.UID, a.UID, a.UID) }},
	} {
		if err := step.err(); errors.Is(err, syscall.EINVAL) {
			return fmt.Errorf("user %s: %s: id %d or %d does not exist in the container's user namespace (see /etc/subuid)", a.Name, step.call, a.UID, a.GID)
		} else if err != nil {
			return os.NewSyscallError(step.call, err)
		}
	}
	return nil
}

// goHome goes to the directory that the caller is in, where that is in the container; else home; else to the root.
func (v visit) goHome(a account) {
	var st unix.Stat_t
	if v.Dir != "" && unix.Stat(v.Dir, &st) == nil && st.Dev == v.Dev && st.Ino == v.Ino && os.Chdir(v.Dir) == nil {
		return
	}
	if a.Home == "" || os.Chdir(a.Home) != nil {
		_ = os.Chdir("/")
	}
}
