package container

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"

	"golang.org/x/sys/unix"

	"binproxy/emu/entrypoint"
	"binproxy/emu/identity"
	"binproxy/emu/sys"
	"binproxy/emu/userns"
)

// Visit is a command for a container, and the user who runs it.
type Visit struct {
	User string   // a name or number in the container; "" for the caller
	Argv []string // empty for the user's login shell

	// Identity is for a container that has none of its own.
	Identity identity.Identity
	Proc     identity.Proc
}

// visit is what the deputy learns: the Visit, who the caller is outside, and which directory he is
// in.
type visit struct {
	Visit
	Single bool
	Host   *hostAccounts // where ids in the container are those of the host
	Caller account
	Dir    string
	Is     sys.FileIdentity // the directory

	// For a supervisor that routes: the container's ABI, and the emulator as a path in the
	// container or as a descriptor.
	ABI, Emulator string
	EmulatorFD    int
}

func (v *visit) Fields(w *entrypoint.Words) {
	w.String(&v.User)
	w.Strings(&v.Argv)
	w.String(v.Identity.Values()...)
	w.String((*string)(&v.Proc))
	w.Bool(&v.Single)
	entrypoint.Optional(w, &v.Host, func(w *entrypoint.Words, h *hostAccounts) { h.fields(w) })
	w.String(&v.Caller.Name, &v.Caller.Home, &v.Caller.Shell)
	entrypoint.Number(w, &v.Caller.UID, &v.Caller.GID)
	w.String(&v.Dir)
	entrypoint.Number(w, &v.Is.Major, &v.Is.Minor)
	entrypoint.Number(w, &v.Is.Inode)
	w.String(&v.ABI, &v.Emulator)
	entrypoint.Number(w, &v.EmulatorFD)
}

// isSupervised reports whether a supervisor starts the command.
func (v visit) isSupervised() bool {
	return !v.Identity.IsZero() || v.Emulator != "" || v.EmulatorFD != 0
}

// Enter runs the visit in the container, and ends with its exit status. A deputy joins the
// namespaces, finds the user in the container, and becomes first that user and then the command.
// No process of ours is started inside, except a supervisor if an identity is to be shown or no
// entry routes.
func Enter(name string, v Visit) error {
	signals := catch()
	defer signals.stop()
	pid, err := join(name, v)
	if err != nil {
		return err
	}
	return signals.wait(pid)
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
		v.Identity, v.Proc = c.Identity, identity.ProcCovered // mounts in the container show it
	}
	sent := visit{Visit: v, Single: c.Single}
	sent.here()
	if sent.Caller, err = caller(); err != nil {
		return 0, err
	}
	if store.root {
		sent.Host = lookAround(v.User, sent.Caller)
	}
	self, err := os.OpenFile(entrypoint.Self, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer self.Close()
	if c.Route == RouteSupervise {
		emulator, err := store.emulator(c, &sent)
		if err != nil {
			return 0, err
		}
		defer emulator.Close() // also if it is nil
	}
	d, err := sys.Send()
	if err != nil {
		return 0, err
	}
	pid, err = sent.arrive(d, self, namespaces, !c.Single && (!store.root || c.Route == RouteUserns))
	if errors.Is(err, sys.ErrGone) {
		return d.Release(), nil // a signal ended it, which the caller learns from the exit status
	}
	if err != nil {
		d.Recall()
	}
	return pid, err
}

// arrive has the deputy enter the namespaces and, if needed, become root of the user namespace.
// Then it becomes the command, or the supervisor, which is self.
func (v visit) arrive(d *sys.Deputy, self *os.File, namespaces []*os.File, root bool) (int, error) {
	for _, ns := range namespaces {
		if err := d.Enter(ns); err != nil {
			return 0, fmt.Errorf("container: %w", err)
		}
	}
	if root {
		if err := d.Become(0, 0, nil); err != nil {
			return 0, fmt.Errorf("container: %w", err)
		}
	}
	if !v.isSupervised() {
		return v.land(d)
	}
	if v.EmulatorFD != 0 {
		if err := d.KeepOpen(v.EmulatorFD); err != nil {
			return 0, err
		}
	}
	argv, err := entrypoint.Argv(entrypoint.Enter, &v)
	if err != nil {
		return 0, err
	}
	return d.ExecFile(self, argv, os.Environ())
}

// emulator tells the visit where the container's emulator is: root's is pinned, another user's is
// held by the anchor. If the anchor is root in the container, which to us is another user, the
// container's root opens it.
func (s *Store) emulator(c Container, v *visit) (*os.File, error) {
	v.ABI = c.Arch
	path := s.emulatorPin(c.Name)
	if !s.root {
		path = fmt.Sprintf("/proc/%d/fd/%d", c.Anchor.PID, emulatorFD)
		if !c.Single {
			v.Emulator = path
			return nil, nil
		}
	}
	f, err := os.Open(path)
	if err == nil {
		v.EmulatorFD = int(f.Fd())
	}
	return f, err
}

// land has the deputy, in the container, become the user, go to his directory, and become the
// command.
func (v visit) land(d *sys.Deputy) (int, error) {
	a, err := v.account(d.Open)
	if err != nil {
		return 0, err
	}
	if err := v.become(d, a); err != nil {
		return 0, err
	}
	v.goHome(d, a)
	return v.exec(d, a)
}

// here records the current directory: its path and its file identity, since the container may have
// another directory under that path.
func (v *visit) here() {
	dir, err := os.Getwd()
	if err != nil {
		return
	}
	if is, err := sys.Identify(dir); err == nil {
		v.Dir, v.Is = dir, is
	}
}

// caller returns the user who enters the container: under sudo, the user who called it.
func caller() (account, error) {
	uid := strconv.Itoa(os.Getuid())
	if sudo := os.Getenv("SUDO_UID"); uid == "0" && sudo != "" {
		uid = sudo
	}
	u, err := user.LookupId(uid)
	if err != nil {
		// A user without a line in passwd(5) counts as well.
		n, err := strconv.Atoi(uid)
		gid := os.Getgid()
		if n != os.Getuid() {
			if gid, err = strconv.Atoi(os.Getenv("SUDO_GID")); err != nil {
				return account{}, fmt.Errorf("SUDO_UID is %s, and SUDO_GID: %w", uid, err)
			}
		}
		return account{Name: uid, UID: n, GID: gid, Home: os.Getenv("HOME")}, err
	}
	a := account{Name: u.Username, Home: u.HomeDir}
	a.UID, err = strconv.Atoi(u.Uid)
	if err == nil {
		a.GID, err = strconv.Atoi(u.Gid)
	}
	return a, err
}

// Inside is what starts in the container if a supervisor is needed. It starts itself once more
// under supervision, and that process lands. It returns only with an error or the command's end.
func Inside(words []string) error {
	var v visit
	if err := entrypoint.Read(words, &v); err != nil {
		return err
	}
	if v.isSupervised() {
		return v.superviseLanding()
	}
	sys.DefaultSignals() // a tracer stops us before the exec, too
	d, err := sys.Here()
	if err != nil {
		return err
	}
	_, err = v.land(d)
	return err
}

// account finds the user in the container's own passwd(5), with a shell that exists there. A
// caller who is not in it keeps his account of outside.
func (v visit) account(open opener) (account, error) {
	if v.User == "" {
		a, ok, err := lookUp(open, "/etc/passwd", func(a account) bool { return a.UID == v.Caller.UID })
		if !ok {
			a = v.Caller
		}
		return a, err
	}
	number, numeric := strconv.Atoi(v.User)
	a, ok, err := lookUp(open, "/etc/passwd", called(v.User))
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

func (v visit) become(d *sys.Deputy, a account) error {
	if v.Single {
		if a.UID != os.Getuid() {
			return fmt.Errorf("only user %d exists in this container: %w", os.Getuid(), userns.NoSubordinates())
		}
		return nil
	}
	groups, err := memberships(d.Open, "/etc/group", a.Name)
	if err != nil {
		return err
	}
	groups = append(groups, a.GID)
	if v.Host != nil {
		if a.GID, groups, err = v.Host.grant(a, groups, v.User); err != nil {
			return err
		}
	}
	err = d.Become(a.UID, a.GID, groups)
	if errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("user %s: %w: id %d or %d does not exist in the container's user namespace (see /etc/subuid)", a.Name, err, a.UID, a.GID)
	}
	return err
}

// goHome goes to the caller's directory if that is in the container; else home; else to the root.
func (v visit) goHome(d *sys.Deputy, a account) {
	if v.Dir != "" {
		if _, is, err := d.Stat(v.Dir); err == nil && is == v.Is && d.Chdir(v.Dir) == nil {
			return
		}
	}
	if a.Home == "" || d.Chdir(a.Home) != nil {
		_ = d.Chdir("/")
	}
}
