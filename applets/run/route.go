package run

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"binproxy/emu/arch"
	"binproxy/emu/binfmt"
	"binproxy/emu/command"
	"binproxy/emu/config"
	"binproxy/emu/elfinfo"
	"binproxy/emu/exit"
	"binproxy/emu/route"
	"binproxy/emu/supervise"
	"binproxy/emu/sys"
	"binproxy/emu/userns"
	"binproxy/shim/farm"
	"binproxy/shim/preload"
	"binproxy/shim/proxy"
	"binproxy/shim/sh"
)

// start runs the command by the requested route, or by the one that serves best.
func (f *flagsOf) start(c supervise.Config) error {
	ask, err := f.ask(c)
	if err != nil {
		return exit.Errorf(exit.Failed, "run: %w", err)
	}
	choice := route.Choose(ask)
	if c.Debug {
		fmt.Fprintf(os.Stderr, "binproxy: route %s: %s\n", choice.Route, choice.Why)
	}
	switch {
	case choice.Outer && ask.Needs != "":
		return exit.Errorf(exit.Failed, "run: %s needs a supervisor of its own, but one traces this process already, and there can be no second", ask.Needs)
	case f.beyond(choice.Route) != "":
		return exit.Errorf(exit.Failed, "run: --route %s cannot do what %s asks for: the route supervise can", choice.Route, f.beyond(choice.Route))
	}
	if f.keep && choice.Route == route.Supervise && !choice.Outer && sys.CanFork() {
		return split()
	}
	return f.orElse(f.by(choice, c), ask, c)
}

// orElse takes another route if the chosen one is refused.
func (f *flagsOf) orElse(err error, ask route.Ask, c supervise.Config) error {
	var refused *supervise.Refused
	if !errors.As(err, &refused) {
		return err
	}
	other, ok := route.Fallback(ask, refused)
	switch {
	case !ok && ask.Single:
		return exit.Errorf(exit.Failed, "run: %w; a single file has no other route: allow ptrace and seccomp here, or ADD a bundle to the image (see binproxy doctor)", err)
	case !ok:
		return err
	}
	fmt.Fprintf(os.Stderr, "binproxy: %s\n", other.Why)
	if err = f.by(other, c); errors.Is(err, preload.ErrStatic) {
		err = f.farm(c, route.Farm, proxy.Exec)
	}
	return err
}

// beyond names the options that a route cannot serve, "" for none.
func (f *flagsOf) beyond(r route.Route) string {
	var options []string
	unless := func(given bool, option string, able ...route.Route) {
		if given && !slices.Contains(able, r) {
			options = append(options, option)
		}
	}
	unless(f.report.trace != "", "--trace", route.Supervise)
	unless(f.report.summary, "--summary", route.Supervise)
	unless(!f.identity.IsZero(), "an identity", route.Supervise, route.Farm, route.Preload)
	unless(len(f.emulators) > 0, "--emulator", route.Supervise, route.Userns)
	return strings.Join(options, ", ")
}

// by takes the route.
func (f *flagsOf) by(choice route.Choice, c supervise.Config) error {
	switch {
	case choice.Outer:
		return c.Bare().Become()
	case choice.Route == route.Kernel:
		return unregistered(c.Bare().Become(), f.own)
	case choice.Route == route.Userns:
		return inNamespace(c)
	case choice.Route == route.Farm:
		return f.farm(c, route.Farm, proxy.Exec)
	case choice.Route == route.Preload:
		return f.farm(c, route.Preload, preload.Exec)
	}
	return ended(f.supervised(c))
}

// supervised runs the command under supervision. What it has replaced of the image's own commands
// is then put in place again.
func (f *flagsOf) supervised(c supervise.Config) (unix.WaitStatus, error) {
	status, err := f.report.supervised(c)
	if err == nil && c.Root == "" && f.bundle.Inside == nil {
		renew(f.bundle)
	}
	return status, err
}

// renew prints on standard error what it cannot do. An ordinary user may not, and has replaced
// nothing.
func renew(cfg config.Config) {
	err := farm.Renew(cfg, "/bin/sh")
	if err != nil && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, unix.EROFS) {
		fmt.Fprintln(os.Stderr, "binproxy: run: what the command has replaced is not routed:", err)
	}
}

// inNamespace runs the command in a namespace of its own, where every emulator that exists here is
// registered.
func inNamespace(c supervise.Config) error {
	u := userns.Command{Command: c.Bare()}
	for _, abi := range arch.All() {
		if abi.QEMU == "" || !c.Guest(abi) || slices.ContainsFunc(u.Entries, func(e binfmt.Entry) bool { return e.Name == binfmt.Name(abi) }) {
			continue
		}
		e, err := c.Emulator(abi)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if e.Loader != "" {
			return exit.Errorf(exit.Failed, "run: --route userns: binfmt_misc names one file, and the emulator %s needs its loader too; the route supervise can give it", e.Path)
		}
		u.Entries = append(u.Entries, binfmt.ForABI(abi, sys.Inherit(e.Path), "POF"))
	}
	var err error
	if u.IDs, u.Inner, err = userns.Self(); err != nil {
		return err
	}
	return userns.Run(u)
}

// unregistered adds to the error of a guest program that the kernel refused what it would have
// needed. abi is the command's, found before its root was entered.
func unregistered(err error, abi *arch.ABI) error {
	if !errors.Is(err, unix.ENOEXEC) || abi == nil || abi.Native(arch.Host()) {
		return err
	}
	return fmt.Errorf("%w: --route kernel needs an entry of the host for %s; `binproxy binfmt list` shows what there is", err, abi.Name)
}

// ended is the error for a command's end; its exit status is the command's.
func ended(status unix.WaitStatus, err error) error {
	if err != nil {
		return err
	}
	return exit.Ended(status)
}

// guests are those of --arch, or those that the bundle has emulators for.
func (f *flagsOf) guests() ([]*arch.ABI, error) {
	if f.arch != "" {
		return arch.ParseList(f.arch)
	}
	var list []*arch.ABI
	for _, abi := range arch.All() {
		if !abi.Native(arch.Host()) && f.bundle.Names(abi) {
			list = append(list, abi)
		}
	}
	return list, nil
}

// commandABI is the ABI of the command's own file; nil if the file is missing or not ELF.
func commandABI(c supervise.Config) *arch.ABI {
	info, err := elfinfo.Header(supervise.Head(c))
	if err != nil {
		return nil
	}
	return info.ABI()
}

// ask gives what the choice depends on.
func (f *flagsOf) ask(c supervise.Config) (a route.Ask, err error) {
	a.Root, a.Single = f.root, f.bundle.Inside != nil
	if a.Route, err = route.Parse(f.route); err != nil {
		return a, err
	}
	if a.ABIs, err = f.guests(); err != nil {
		return a, err
	}
	f.own = commandABI(c)
	own := f.own
	if own != nil && own.Native(arch.Host()) {
		own = nil
	}
	if len(a.ABIs) == 0 && own != nil {
		a.ABIs = []*arch.ABI{own}
	}
	a.Spoof = !c.Identity.IsZero() || c.Release != ""
	a.Hooks = f.root == "" && (own != nil && f.bundle.Preloads(own) || own == nil && slices.ContainsFunc(a.ABIs, f.bundle.Preloads))
	a.Farmless = !slices.ContainsFunc(f.bundle.AllFarms(), func(dir string) bool {
		_, err := os.Stat(dir)
		return err == nil
	})
	var needs []string
	if !f.identity.IsZero() {
		// a route may show the bundle's identity in part, but not this one
		needs = append(needs, "an identity asked for by an option")
	}
	if f.report.trace != "" {
		needs = append(needs, "--trace")
	}
	if f.report.summary {
		needs = append(needs, "--summary")
	}
	if len(f.emulators) > 0 {
		needs = append(needs, "--emulator")
	}
	a.Needs = strings.Join(needs, ", ")
	return a, nil
}

// farm becomes the command by way of the farm, as a shim does. become execs it, with or without
// the preload libraries. The links that the command calls find the route in their environment, so
// that none of them asks for a supervisor.
func (f *flagsOf) farm(c supervise.Config, by route.Route, become func(farm.Call, string, []string, []string) error) error {
	if c.Root != "" {
		return exit.Errorf(exit.Failed, "run: --root %s: the farm's links and the preload libraries lead to a binproxy and an emulator in the root itself; put a bundle there and chroot", c.Root)
	}
	if c.Dir != "" {
		if err := os.Chdir(c.Dir); err != nil {
			return err
		}
	}
	cfg := f.bundle
	cfg.Identity = f.identity.Over(cfg.Identity)
	call := farm.Call{Config: cfg, Root: farm.Root{Self: cfg.Self(), Farms: cfg.AllFarms()}}
	env := f.identity.Into(sh.WithFarm(call, c.Env)) // the options', for what the command starts
	env = with(env, sh.RouteEnv+"="+string(by))
	var err error
	for _, path := range command.Candidates(c.Command, env) {
		if err = become(call, path, c.Argv, env); exit.Code(err) != exit.NotFound {
			break
		}
	}
	return err
}
