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
	"binproxy/emu/exit"
	"binproxy/emu/identity"
	"binproxy/emu/supervise"
	"binproxy/emu/sys"
	"binproxy/shim/farm"
	"binproxy/shim/proxy"
	"binproxy/shim/sh"
)

// Applet is the row of the table.
var Applet = applet.Applet{
	Name:     "run",
	Synopsis: "run a command of another architecture, and all that it starts",
	Usage: `[--arch ARCH] [--root DIR] [--cwd DIR] [--emulator [ARCH=]FILE] [--route ROUTE] [--env K=V] -- COMMAND [ARGUMENT...]

Runs COMMAND. Each program of another architecture that it or any process of its starts goes to that architecture's
emulator; host-native programs run as they are. The exit status is the command's, 128+N if signal N ended it.

  --root DIR           run it with DIR as its root: a rootfs of another architecture
  --cwd DIR            run it in this working directory, within the root
  --arch ARCH          only these architectures' programs go to an emulator (default: all that the host cannot run)
  --emulator FILE      take this emulator (ARCH=FILE for one of several)
  --route ROUTE        auto, kernel, userns, supervise or farm (default: auto)
  --release R          the kernel release that programs are told
  --env K=V            set a variable of the command's environment
  --argv0 NAME         the command's argv[0], if not COMMAND

BINPROXY_ROUTE sets the default of --route, and that of a /bin/sh that is binproxy.
BINPROXY_DEBUG=1 prints one line for each exec on stderr.
`,
	Run: run,
}

// flagsOf are the applet's flags.
type flagsOf struct {
	arch, root, cwd, route, release string
	argv0                           string
	emulators, env                  applet.List
	bundle                          config.Config
}

func run(args []string) error {
	var f flagsOf
	flags := applet.NewFlags("run")
	flags.StringVar(&f.arch, "arch", "", "")
	flags.StringVar(&f.root, "root", "", "")
	flags.StringVar(&f.cwd, "cwd", "", "")
	flags.StringVar(&f.route, "route", cmp.Or(os.Getenv(sh.RouteEnv), "auto"), "")
	flags.StringVar(&f.argv0, "argv0", "", "")
	flags.StringVar(&f.release, "release", "", "")
	flags.Var(&f.emulators, "emulator", "")
	flags.Var(&f.env, "env", "")
	command, err := flags.ParseCommand(args)
	if err != nil {
		return err
	}
	if len(command) == 0 {
		return exit.Errorf(exit.Failed, "run: there is no command; see binproxy help run")
	}
	c, err := f.config(command)
	if err != nil {
		return err
	}
	return f.take(c)
}

// take goes the route that was asked for.
func (f *flagsOf) take(c supervise.Config) error {
	if sys.Supervised() {
		return supervise.Enter(c) // whoever supervises us routes what we run
	}
	switch f.route {
	case "kernel":
		return supervise.Enter(c)
	case "userns":
		return ended(supervise.RunInNamespace(c))
	case "supervise":
		return ended(supervise.Run(c))
	case "farm":
		return f.farm(c)
	case "auto":
		err := ended(supervise.Run(c))
		var refused *supervise.Refused
		if !errors.As(err, &refused) {
			return err
		}
		fmt.Fprintf(os.Stderr, "binproxy: %v; going on by the farm: only what is called through its links reaches the emulator\n", refused)
		return f.farm(c)
	}
	return exit.Errorf(exit.Failed, "run: --route %s: there are auto, kernel, userns, supervise and farm", f.route)
}

// ended is the error for a command's end: the exit status is the command's.
func ended(status unix.WaitStatus, err error) error {
	switch {
	case err != nil:
		return err
	case status.Signaled():
		return exit.Silent(exit.Signal + int(status.Signal()))
	}
	return exit.Silent(status.ExitStatus())
}

// farm becomes the command by way of the farm.
func (f *flagsOf) farm(c supervise.Config) error {
	if f.root != "" {
		return exit.Errorf(exit.Failed, "run: the farm route has no --root: a farm is part of its root")
	}
	if f.cwd != "" {
		if err := os.Chdir(f.cwd); err != nil {
			return err
		}
	}
	call := farm.Call{Config: f.bundle, Root: farm.Root{Self: f.bundle.Self(), Farms: f.bundle.AllFarms()}}
	env := sh.WithFarm(call, c.Env)
	var err error
	for _, path := range supervise.Candidates(c.Command, env) {
		if err = proxy.Exec(call, path, c.Argv, env); exit.Code(err) != exit.NotFound {
			break
		}
	}
	return err
}

func (f *flagsOf) config(command []string) (supervise.Config, error) {
	c := supervise.Config{Command: command[0], Argv: append([]string{cmp.Or(f.argv0, command[0])}, command[1:]...), Env: environment(f.env), Root: f.root, Dir: f.cwd, Debug: os.Getenv("BINPROXY_DEBUG") != ""}
	cfg, err := config.Load(bundleDir())
	if err != nil {
		return c, err
	}
	chosen, err := emulators(f.emulators, f.arch)
	if err != nil {
		return c, err
	}
	cfg.Emulators = append(chosen, cfg.Emulators...)
	f.bundle = cfg
	var only []*arch.ABI
	if f.arch != "" {
		if only, err = arch.ParseList(f.arch); err != nil {
			return c, err
		}
	}
	host := arch.Host()
	c.Guest = func(abi *arch.ABI) bool {
		if only != nil {
			return slices.Contains(only, abi)
		}
		return !abi.Native(host) || abi != host && cfg.Names(abi)
	}
	c.Emulator = cfg.Emulator
	c.Behind = func(path string) string { return behind(cfg, path) }
	id := identity.Spoofed(identity.Identity{Release: f.release}.Over(cfg.Identity), os.Getenv)
	if err := id.Check(); err != nil {
		return c, err
	}
	if id.Release != "" {
		c.Options = []string{"-r", id.Release}
	}
	return c, nil
}

// behind is the path of the file that a link to binproxy stands for, by the names that farms give. What fakes uname stays.
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

// emulators reads the values of --emulator: ARCH=FILE, or FILE for the one architecture of --arch.
func emulators(values []string, archs string) ([]config.Emulator, error) {
	var list []config.Emulator
	for _, value := range values {
		name, file, ok := strings.Cut(value, "=")
		if !ok {
			name, file = archs, value
		}
		if name == "" {
			return nil, exit.Errorf(exit.Failed, "run: --emulator %s: whose? Say --arch ARCH, or --emulator ARCH=%s", value, value)
		}
		abi, err := arch.Parse(name)
		if err != nil {
			return nil, err
		}
		list = append(list, config.Emulator{QEMU: abi.QEMU, Path: file})
	}
	return list, nil
}

// environment is ours with the variables of --env.
func environment(set []string) []string {
	env := os.Environ()
	for _, entry := range set {
		key, _, _ := strings.Cut(entry, "=")
		env = slices.DeleteFunc(env, func(e string) bool { return strings.HasPrefix(e, key+"=") })
		env = append(env, entry)
	}
	return env
}

// bundleDir is the directory that binproxy lies in.
func bundleDir() string {
	self, err := os.Executable()
	if err != nil {
		return config.DefaultDir
	}
	return self[:strings.LastIndexByte(self, '/')]
}
