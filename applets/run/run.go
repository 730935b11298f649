// Package run is the applet that runs a guest command.
package run

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"binproxy/applets/applet"
	"binproxy/emu/arch"
	"binproxy/emu/config"
	"binproxy/emu/emulator"
	"binproxy/emu/exit"
	"binproxy/emu/identity"
	"binproxy/emu/kernel"
	"binproxy/emu/single"
	"binproxy/emu/supervise"
	"binproxy/emu/sys"
	"binproxy/shim/farm"
	"binproxy/shim/sh"
)

// Applet is the row of the table.
var Applet = applet.Applet{
	Name:     "run",
	Synopsis: "run a command of another architecture, and all that it starts",
	Text: `
Runs COMMAND. Each program of another architecture that it, or a process that it starts, executes
goes to that architecture's emulator; host-native programs run as they are. The exit status is the command's.
If a signal ends it, binproxy dies of that signal, too; as PID 1 it ends with 128+N.

BINPROXY_ROUTE sets the default of --route, BINPROXY_TWINS that of --twins, also for a /bin/sh that
is binproxy. BINPROXY_DEBUG=1 prints one line for each exec on stderr.
`,
	Commands: []applet.Command{{Args: "[FLAG...] -- COMMAND [ARGUMENT...]", Leads: true, Flags: flags}},
}

// flagsOf are the applet's flags.
type flagsOf struct {
	archs                        *string
	arch, root, cwd, route, proc string
	argv0                        string
	identity                     identity.Identity
	emulators, env               applet.List
	bundle                       config.Config
	own                          *arch.ABI // the command's; nil if it is unknown
	report                       report
	twins                        string
	noTwin                       applet.List
	guestsOnly                   bool
	keep                         bool
}

// IsSingle reports whether the program is a single file, which may have any name.
func IsSingle() bool {
	_, err := single.Own(self())
	return !errors.Is(err, single.ErrPlain)
}

func flags(set applet.Flags) applet.Run {
	f := new(flagsOf)
	f.archs = set.Archs("arch", "`ARCH[,ARCH...]` only these architectures' programs go to an emulator (default: all that the host cannot run)")
	set.StringVar(&f.root, "root", "", "`DIR` run it with DIR as its root: a rootfs of another architecture")
	set.StringVar(&f.cwd, "cwd", "", "`DIR` run it in this working directory, within the root")
	set.StringVar(&f.route, "route", cmp.Or(os.Getenv(sh.RouteEnv), "auto"), "`ROUTE` auto, kernel, userns, supervise, preload or farm")
	set.StringVar(&f.argv0, "argv0", "", "`NAME` the command's argv[0], if not COMMAND")
	set.StringVar(&f.proc, "proc", "", "`HOW` how /proc/version and similar files show the identity: auto (mounts where allowed, else trace), trace (by looking at every open: slower) or no (default: auto)")
	set.Identity(&f.identity)
	set.BoolVar(&f.guestsOnly, "guests-only", false, "show the release only to guest programs: for a COMMAND such as an image builder, which has to know its real kernel")
	set.StringVar(&f.report.trace, "trace", "", "`FILE` write what ran, when, how long and at what cost, as Chrome trace events (Perfetto, chrome://tracing, speedscope)")
	set.BoolVar(&f.report.summary, "summary", false, "print the costliest commands on stderr at the end")
	set.Var(&f.emulators, "emulator", "`[ARCH=]FILE` take this emulator (ARCH=FILE if neither its name, qemu-ARCH, nor --arch says whose it is)")
	set.Var(&f.env, "env", "`K=V` set a variable of the command's environment")
	set.StringVar(&f.twins, "twins", os.Getenv(TwinsEnv), "`DIR` let the twins of this directory (see binproxy help twin) stand in for the guest's programs of the same version (default: the directory twins of the bundle, if there is one); off for none")
	set.Var(&f.noTwin, "no-twin", "`NAME` no twin for this program, this set of programs, or what this compiler (gcc) starts")
	set.BoolVar(&f.keep, "keep-pid", false, "the command keeps this process, PID 1 in a container; its supervisor is another process, which wait(2) does not show it, and which serves what the command leaves behind; not with --trace, --summary")
	return f.run
}

func (f *flagsOf) run(command []string) error {
	f.arch = *f.archs
	if len(command) == 0 {
		return exit.Errorf(exit.Failed, "run: there is no command; see binproxy help run")
	}
	for _, entry := range f.env {
		if strings.Index(entry, "=") < 1 {
			return exit.Errorf(exit.Failed, "run: --env %q: needs NAME=VALUE", entry)
		}
	}
	if err := f.keepable(); err != nil {
		return err
	}
	f.keepsEntered()
	if f.needsNamespace(command[0]) {
		if ok, err := enterNamespace(command[0]); ok || err != nil {
			return err
		}
	}
	c, err := f.config(command)
	if err != nil {
		return err
	}
	if half != nil {
		return f.halved(c)
	}
	return f.start(c)
}

// config gives the command and its settings.
func (f *flagsOf) config(command []string) (supervise.Config, error) {
	c := supervise.Config{Command: command[0], Argv: append([]string{cmp.Or(f.argv0, command[0])}, command[1:]...), Env: environment(f.env), Root: f.root, Dir: f.cwd, Debug: os.Getenv("BINPROXY_DEBUG") != ""}
	cfg, err := single.Config(self())
	if err != nil {
		return c, err
	}
	var only []*arch.ABI
	if f.arch != "" {
		if only, err = arch.ParseList(f.arch); err != nil {
			return c, err
		}
	}
	chosen, err := f.chosen(only)
	if err != nil {
		return c, err
	}
	cfg.Emulators = append(chosen, cfg.Emulators...)
	f.bundle = cfg
	c.Guest = cfg.Guest
	if only != nil {
		c.Guest = func(abi *arch.ABI) bool { return slices.Contains(only, abi) }
	}
	c.Emulator = cfg.Emulator
	c.Behind = func(path string) string { return behind(cfg, path) }
	if err := f.spoof(&c, cfg); err != nil {
		return c, err
	}
	c.Twins, err = f.twinsOf(cfg)
	return c, err
}

// spoof sets the identity for the command. The command line takes precedence over the environment,
// and that over the bundle's file.
func (f *flagsOf) spoof(c *supervise.Config, cfg config.Config) error {
	if cfg.Truthful(os.Getenv) {
		c.Identity = identity.Chosen(f.identity)
	} else {
		c.Identity = identity.Chosen(f.identity, identity.FromEnv(os.Getenv), cfg.Identity)
	}
	if err := c.Identity.Check(); err != nil {
		return err
	}
	var err error
	if c.Proc, err = identity.ParseProc(cmp.Or(f.proc, os.Getenv(identity.ProcEnv), string(cfg.Proc))); err != nil {
		return err
	}
	release := c.Identity.Release
	if f.guestsOnly {
		c.Identity, c.Release = identity.Identity{}, release
	}
	if release == "" {
		return nil
	}
	if half != nil {
		return nil // the warning has been printed
	}
	return f.warnOfRelease(release)
}

// warnOfRelease prints on standard error which calls the release promises, to native programs and
// to guests, that the running kernel lacks.
func (f *flagsOf) warnOfRelease(release string) error {
	running, err := identity.Kernel()
	if err != nil {
		return err
	}
	guests, err := f.guests()
	if err != nil {
		return err
	}
	abis := []*kernel.ABI{kernel.Of(arch.Host())}
	for _, a := range guests {
		abis = append(abis, kernel.Of(a))
	}
	if line := kernel.ReleaseWarning(release, running.Release, abis...); line != "" {
		fmt.Fprintln(os.Stderr, "binproxy: run:", line)
	}
	return nil
}

// behind is the path of the file that a link to binproxy stands for, by the names that farms give.
// It leaves a uname as it is.
func behind(cfg config.Config, path string) string {
	if filepath.Base(path) == "uname" {
		return ""
	}
	for _, dir := range cfg.AllFarms() {
		if guest, ok := strings.CutPrefix(path, dir+"/"); ok {
			return "/" + guest
		}
	}
	return farm.Aside(path)
}

// chosen are the emulators that --emulator names.
func (f *flagsOf) chosen(only []*arch.ABI) ([]emulator.Emulator, error) {
	files, err := emulator.Parse(f.emulators, only)
	if err != nil {
		return nil, fmt.Errorf("run: %w", err)
	}
	var list []emulator.Emulator
	for qemu, file := range files {
		if file, err = filepath.Abs(file); err != nil {
			return nil, err
		}
		if fd, ok := sys.OwnDescriptor(file); ok {
			unix.CloseOnExec(fd) // it is for us, not for the command
		}
		list = append(list, emulator.Emulator{QEMU: qemu, Path: file})
	}
	return list, nil
}

// environment is ours, with the variables of --env.
func environment(set []string) []string {
	env := os.Environ()
	for _, entry := range set {
		env = with(env, entry)
	}
	return env
}

// with is the environment with a variable set.
func with(env []string, entry string) []string {
	key, _, _ := strings.Cut(entry, "=")
	env = slices.DeleteFunc(env, func(e string) bool { return strings.HasPrefix(e, key+"=") })
	return append(env, entry)
}

// self is the program's own file.
func self() string {
	self, err := os.Executable()
	if err != nil {
		return config.DefaultDir + "/" + config.Binary
	}
	return self
}
