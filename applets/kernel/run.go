package kernel

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"binproxy/applets/applet"
	"binproxy/emu/arch"
	"binproxy/emu/config"
	"binproxy/emu/elfinfo"
	"binproxy/emu/emulator"
	"binproxy/emu/entrypoint"
	"binproxy/emu/exit"
	"binproxy/emu/identity"
	facts "binproxy/emu/kernel"
	"binproxy/emu/seccomp"
	"binproxy/emu/supervise"
	"binproxy/emu/sys"
)

// x32Name is the table whose numbers are among those of x86_64, with a bit set.
const x32Name = "x32"

// asOlder are the flags of run.
type asOlder struct {
	as    string
	force bool
	rerun bool // a supervisor of ours shows the release already
}

func runFlags(f applet.Flags) applet.Run {
	var o asOlder
	f.StringVar(&o.as, "as", "", "`RELEASE` the kernel to run under")
	f.BoolVar(&o.force, "force", false, "if RELEASE is newer than the running kernel: show COMMAND the release, and change nothing else")
	return func(argv []string) error { return o.run(argv) }
}

// rerun is a run that startAgain starts.
type rerun struct {
	asOlder
	argv []string
}

func (r *rerun) Fields(w *entrypoint.Words) {
	w.String(&r.as)
	w.Bool(&r.force)
	w.Strings(&r.argv)
}

// Rerun does that run; it is an entrypoint.
func Rerun(words []string) error {
	r := rerun{asOlder: asOlder{rerun: true}}
	if err := entrypoint.Read(words, &r); err != nil {
		return err
	}
	return r.run(r.argv)
}

func (o asOlder) run(argv []string) error {
	switch {
	case o.as == "":
		return exit.Errorf(exit.Failed, "kernel run: --as RELEASE is missing; see binproxy help kernel")
	case len(argv) == 0:
		return exit.Errorf(exit.Failed, "kernel run: the command is missing; see binproxy help kernel")
	}
	r, err := release(o.as)
	if err != nil {
		return err
	}
	c, err := findCommand(argv)
	if err != nil {
		return err
	}
	newer, err := newerThanHost(r)
	switch {
	case err != nil:
		return err
	case newer != "" && !o.force:
		return exit.Errorf(exit.Failed, "--as %s: newer than the running kernel (%s), which cannot give what it lacks; --force tells the command the release, and nothing more", r.Text, newer)
	}
	if newer != "" && !o.rerun {
		c.warnOfRelease(r, newer)
	}
	if c.guest == nil && !o.rerun {
		if err := o.startAgain(r, argv); err != errNoSupervisor {
			return err
		}
	}
	if newer != "" {
		return execAs(r, c, nil)
	}
	return c.startAs(r)
}

// warnOfRelease prints on standard error which calls a release promises to the command that the
// running kernel lacks.
func (c command) warnOfRelease(r facts.Release, running string) {
	tables := facts.Family(arch.Host())
	if c.guest != nil {
		tables = []*facts.ABI{c.guest}
	}
	if line := facts.ReleaseWarning(r.Uname(arch.Host().Machine), running, tables...); line != "" {
		fmt.Fprintln(os.Stderr, "binproxy: kernel run:", line)
	}
}

const errNoSupervisor = exit.Sentinel("no supervisor")

// startAgain runs `kernel run` once more, under a supervisor that shows the release to every
// program; the filter stops nothing for it. It returns errNoSupervisor, and prints a line on
// stderr, if the machine allows no supervisor or another one is there already.
func (o asOlder) startAgain(r facts.Release, argv []string) error {
	again, err := entrypoint.Argv(entrypoint.Rerun, &rerun{o, argv})
	if err != nil {
		return err
	}
	release := r.Uname(arch.Host().Machine)
	err = &supervise.Refused{Route: "supervise", Err: errors.New("there is a supervisor already")}
	if !sys.Supervised() {
		var status unix.WaitStatus
		status, err = supervise.Run(supervise.Config{
			Command: entrypoint.Self, Argv: again, Env: os.Environ(),
			Guest:    func(*arch.ABI) bool { return false },
			Identity: identity.Chosen(identity.Identity{Release: release}), Proc: identity.ProcAuto,
		})
		if err == nil {
			return exit.Ended(status)
		}
	}
	if refused := new(supervise.Refused); !errors.As(err, &refused) {
		return err
	}
	fmt.Fprintf(os.Stderr, "binproxy: kernel run: uname goes on saying the running kernel's release, not %s: %v\n", release, err)
	return errNoSupervisor
}

// command is the command to run. Guest is the table of a guest's ABI if an emulator runs it, else
// nil. Emulator is the emulator for path; it is nil if the kernel runs path, which may itself be
// an emulator.
type command struct {
	path     string
	argv     []string
	guest    *facts.ABI
	emulator *emulator.Emulator
}

// findCommand looks a command up in PATH as a shell does, and finds the emulator of a guest's
// program as every exec of the bundle does.
func findCommand(argv []string) (command, error) {
	path, err := exec.LookPath(argv[0])
	if errors.Is(err, exec.ErrDot) {
		err = nil
	}
	if err != nil {
		errno := lookupErrno(err)
		return command{}, exit.Errorf(exit.OfExec(errno), "%s: %w", cmp.Or(argv[0], "''"), errno)
	}
	c := command{path: path, argv: argv}
	if guest := emulator.ByName(path); guest != nil {
		c.guest = facts.Of(guest)
		return c, nil
	}
	head, errno := sys.ReadExecutable(path, elfinfo.HeaderSize)
	if errno != 0 {
		return command{}, exit.Errorf(exit.OfExec(errno), "%s: %w", path, errno)
	}
	info, err := elfinfo.Header(head)
	if err != nil || info.ABI() == nil || info.ABI().Native(arch.Host()) {
		// a script, or a program of the host's; or the kernel has the better error for it
		return c, nil
	}
	return c.underEmulator(info.ABI())
}

// lookupErrno is execve's errno for a command that LookPath does not find.
func lookupErrno(err error) syscall.Errno {
	var errno syscall.Errno
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EISDIR):
		return syscall.EACCES
	case errors.As(err, &errno):
		return errno
	}
	return syscall.ENOENT
}

func (c command) underEmulator(guest *arch.ABI) (command, error) {
	bundle, err := config.Own()
	if err != nil {
		return c, failed(err)
	}
	e, err := bundle.Emulator(guest)
	if err != nil {
		return c, exit.Errorf(exit.CannotRun, "%s: a program of %s: %w", c.path, guest.Name, err)
	}
	c.guest, c.emulator = facts.Of(guest), &e
	return c, nil
}

// startAs runs the command under a release, and returns only if that fails.
func (c command) startAs(r facts.Release) error {
	own, err := hostTable()
	if err != nil {
		return err
	}
	judge := own
	if c.guest != nil {
		judge = c.guest
	}
	if !r.HasName(judge, "execve") {
		return exit.Errorf(exit.Failed, "--as %s: there was no Linux for %s yet; its port came with %s", r.Text, judge.Name, judge.ByName("execve")[0].Since())
	}
	filter, err := Filter(r, c.guest)
	if err != nil {
		return failed(err)
	}
	if !r.HasName(own, "prlimit64") && c.guest == nil {
		if err := sys.RestoreNofile(); err != nil {
			return failed(err)
		}
	}
	if c.guest != nil {
		if list := r.Undeniable(own, c.guest); len(list) > 0 {
			fmt.Fprintf(os.Stderr, "binproxy: kernel run: the emulator makes these out of older calls, and they cannot be denied: %s\n", strings.Join(list, " "))
		}
	}
	return execAs(r, c, filter)
}

// newerThanHost is the running kernel's release if r is newer, else "".
func newerThanHost(r facts.Release) (string, error) {
	host, err := release("host")
	if err != nil || r.Base <= host.Base && !(r.Newer && !host.Newer) {
		return "", err
	}
	return host.Text, nil
}

// Filter is the seccomp filter that answers ENOSYS to every call that a release lacks, on this
// host. With a guest's table it judges, by name, the calls that an emulator makes for a guest.
func Filter(r facts.Release, guest *facts.ABI) ([]unix.SockFilter, error) {
	var denials []seccomp.Denial
	for _, abi := range facts.Family(arch.Host()) {
		if abi.Name == x32Name {
			continue // it is part of the numbers of x86_64
		}
		gaps := r.Absent(abi)
		if guest != nil {
			gaps = r.AbsentUnder(abi, guest)
		}
		d := seccomp.Denial{Audit: auditOf(abi)}
		for _, g := range gaps {
			d.Ranges = append(d.Ranges, seccomp.Range(g))
		}
		denials = append(denials, d)
	}
	return seccomp.Deny(uint16(unix.ENOSYS), denials...)
}

// auditOf is the AUDIT_ARCH of the calls of a table.
func auditOf(a *facts.ABI) uint32 {
	for _, candidate := range arch.All() {
		if facts.Of(candidate) == a {
			return candidate.Audit()
		}
	}
	panic("binproxy: no row of emu/arch for the table of " + a.Name)
}

// execAs becomes the command, under the filter (nil for none). An emulator gets the release as an
// option; for a native program, tell deals with uname.
func execAs(r facts.Release, c command, filter []unix.SockFilter) error {
	env := os.Environ()
	if e := c.emulator; e != nil {
		call := emulator.Call[string]{Argv0: c.argv[0], Release: r.Uname(guestMachine(c.guest)), File: c.path}
		call.Variables, env = e.Part(env)
		c.path, c.argv = e.Program(), append(e.Argv(call), c.argv[1:]...)
	}
	if filter != nil {
		if err := sys.Confine(filter); err != nil {
			return failed(err)
		}
	}
	err := sys.Exec(c.path, c.argv, env)
	return exit.With(exit.OfExec(err), err)
}

func guestMachine(guest *facts.ABI) string {
	for _, a := range arch.All() {
		if facts.Of(a) == guest {
			return a.Machine
		}
	}
	return ""
}
