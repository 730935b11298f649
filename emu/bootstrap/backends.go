package bootstrap

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"binproxy/emu/arch"
)

// step is a program to run, with additions to its environment, and files to write first.
type step struct {
	argv  []string
	env   []string
	files map[string]string
}

// backend is a distribution's bootstrapper. packages lists the distributions' names of the package
// that contains it.
type backend struct {
	name, packages string
	arch           func(*arch.ABI) string // its name of the architecture, "" if it has none
	commands       func(o Options, arch, root string) ([]step, error)
}

func backends() []backend {
	return []backend{
		{"debootstrap", "Debian, Ubuntu, Fedora, Arch, Alpine: debootstrap", debianArch, debootstrap},
		{"mmdebstrap", "Debian, Ubuntu: mmdebstrap", debianArch, mmdebstrap},
		{"dnf", "Fedora, Debian, Ubuntu: dnf", rpmArch, dnf},
		{"zypper", "openSUSE, Debian, Ubuntu: zypper", rpmArch, zypper},
		{"apk", "Alpine: apk-tools; elsewhere the static one of its releases", alpineArch, apk},
	}
}

// Backends are the names that --from takes, besides oci:DIR and tar:FILE.
func Backends() []string {
	var names []string
	for _, b := range backends() {
		names = append(names, b.name)
	}
	return names
}

// commands returns what the backend runs to make the root, or why it cannot make it.
func commands(o Options, root string) ([]step, error) {
	all := backends()
	i := slices.IndexFunc(all, func(b backend) bool { return b.name == o.From })
	if i < 0 {
		return nil, fmt.Errorf("--from %s: it is one of %s, or oci:DIR or tar:FILE", o.From, strings.Join(Backends(), ", "))
	}
	b := all[i]
	name := b.arch(o.ABI)
	if name == "" {
		return nil, fmt.Errorf("%s: its distributions have no port to %s", b.name, o.ABI.Name)
	}
	if _, err := find(b.name); err != nil {
		return nil, fmt.Errorf("%s is not installed; the package that has it: %s", b.name, b.packages)
	}
	return b.commands(o, name, root)
}

// find also looks in the directories of root's programs, which an ordinary user may not have in
// PATH.
func find(program string) (string, error) {
	path, err := exec.LookPath(program)
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if errors.Is(err, exec.ErrNotFound) {
			path, err = exec.LookPath(filepath.Join(dir, program))
		}
	}
	return path, err
}

// run runs the command with this home and this directory for temporary files, which is removed
// with the partial directory. Its output goes to stderr, as progress.
func (c step) run(home, temp string) error {
	for path, text := range c.files {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	path, err := find(c.argv[0])
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "binproxy: running", strings.Join(c.argv, " "))
	cmd := exec.Command(path, c.argv[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	cmd.Env = append(os.Environ(), "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME="+home, "TMPDIR="+temp)
	cmd.Env = append(cmd.Env, c.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", c.argv[0], err)
	}
	return nil
}

func debianArch(a *arch.ABI) string { return a.Debian }

// rpmArch is RPM's name of the architecture, as Fedora and openSUSE build for it.
func rpmArch(a *arch.ABI) string {
	switch a.Name {
	case "aarch64", "ppc64le", "ppc64", "s390x", "riscv64", "x86_64", "loongarch64":
		return a.Name
	case "armhf":
		return "armv7hl"
	case "i386":
		return "i686"
	}
	return ""
}

func alpineArch(a *arch.ABI) string {
	switch a.Name {
	case "aarch64", "ppc64le", "s390x", "riscv64", "x86_64", "loongarch64":
		return a.Name
	case "armhf":
		return "armv7"
	case "armel":
		return "armhf" // Alpine's armhf is ARMv6
	case "i386":
		return "x86"
	}
	return ""
}

func withKeyring(argv []string, flag, keyring string) []string {
	if keyring == "" {
		return argv
	}
	return append(argv, flag+"="+keyring)
}

func (o Options) variant() string {
	if o.Variant == "" {
		return "minbase"
	}
	return o.Variant
}

func (o Options) suite(usual string) string {
	if o.Suite == "" {
		return usual
	}
	return o.Suite
}

// debootstrap thinks that it is in LXC. Then it binds the host's device nodes instead of making
// its own, which nobody can do in a user namespace.
func debootstrap(o Options, arch, root string) ([]step, error) {
	argv := withKeyring([]string{"debootstrap", "--arch=" + arch, "--variant=" + o.variant()}, "--keyring", o.Keyring)
	if o.Keyring != "" {
		argv = append(argv, "--force-check-gpg")
	}
	if len(o.Include) > 0 {
		argv = append(argv, "--include="+strings.Join(o.Include, ","))
	}
	argv = append(argv, o.suite("stable"), root)
	if o.Mirror != "" {
		argv = append(argv, o.Mirror)
	}
	return []step{{argv: argv, env: []string{"container=lxc"}}}, nil
}

// mmdebstrap would ask arch-test whether the architecture's programs run. Here they do.
func mmdebstrap(o Options, arch, root string) ([]step, error) {
	argv := []string{"mmdebstrap", "--mode=root", "--format=directory", "--skip=check/qemu", "--architectures=" + arch, "--variant=" + o.variant()}
	argv = withKeyring(argv, "--keyring", o.Keyring)
	if len(o.Include) > 0 {
		argv = append(argv, "--include="+strings.Join(o.Include, ","))
	}
	argv = append(argv, o.suite("stable"), root)
	if o.Mirror != "" {
		argv = append(argv, o.Mirror)
	}
	return []step{{argv: argv}}, nil
}

// packages returns what to install: what further installations need, and what was asked for.
func (o Options) packages(usual ...string) ([]string, error) {
	if o.Variant == "custom" {
		usual = nil
	}
	all := append(slices.Clone(usual), o.Include...)
	if len(all) == 0 {
		return nil, errors.New("--variant custom: name the packages with --include")
	}
	return all, nil
}

func (o Options) needMirror() error {
	if o.Mirror == "" {
		return fmt.Errorf("%s: say where the packages are, with --mirror URL", o.From)
	}
	return nil
}
