package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"binproxy/test/lib/lab"
)

// job is a guest's work in an arm64 Debian root of its own: a command, and the preparation of the
// root.
type job struct {
	first bool   // the root is one before debootstrap's second stage
	fresh bool   // each run has a root of its own, as with first
	again string // or this restores it
	argv  []string
}

var (
	secondStage   = job{first: true, argv: []string{"/debootstrap/debootstrap", "--second-stage"}}
	aptInstall    = job{fresh: true, argv: []string{"/bin/sh", "-c", "apt-get install -qq -y --no-install-recommends cowsay"}}
	aptInstallGit = job{fresh: true, argv: []string{"/bin/sh", "-c", "apt-get install -qq -y git"}}
	compileLua    = job{argv: []string{"/bin/sh", "-c", "cd /srv/lua-*/src && for f in lapi lcode lgc lparser lvm; do gcc -O2 -c -o /dev/null $f.c || exit; done"}}
)

func perlLoop(times string) job {
	return job{argv: []string{"/usr/bin/perl", "-e", `for (1 .. ` + times + `) { system("/usr/bin/true") == 0 or die }`}}
}

// prepareRoot makes a configured root one that the jobs can work in.
const prepareRoot = `set -e
export DEBIAN_FRONTEND=noninteractive
sed -n 's/^deb /deb-src /p' /etc/apt/sources.list >/etc/apt/sources.list.d/source.list
apt-get update -qq
apt-get install -qq -y --no-install-recommends gcc libc6-dev make
cd /srv
apt-get install -qq -y --no-install-recommends --download-only cowsay
apt-get install -qq -y --download-only git
apt-get source -qq --download-only lua5.4
tar -xf lua5.4_*.orig.tar.*
`

// againstKernel and againstPRoot run a job by the supervised route, against the same job by a user
// namespace's binfmt_misc, and under PRoot's QEMU.

func (j job) againstKernel(ctx context.Context, dir string) (command, command, error) {
	return j.against(ctx, dir, func(binproxy, root string) (command, error) {
		return command{path: binproxy, args: append([]string{"run", "--route", "userns", "--root", root, "--"}, j.argv...)}, nil
	})
}

func (j job) againstPRoot(ctx context.Context, dir string) (command, command, error) {
	return j.against(ctx, dir, func(_, root string) (command, error) {
		proot, err := exec.LookPath("proot")
		if err != nil {
			return command{}, fmt.Errorf("needs package proot: %w", err)
		}
		emulator, err := findEmulator()
		if err != nil {
			return command{}, err
		}
		args := []string{"-q", emulator, "-r", root, "-w", "/", "-b", "/dev", "-b", "/proc"}
		return command{path: proot, args: append(args, j.argv...), env: guestEnv}, nil
	})
}

// guestEnv makes debootstrap make no devices, which nobody may do in a user namespace; it is the
// same in all that are compared.
var guestEnv = []string{"container=lxc", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C"}

func (j job) against(ctx context.Context, dir string, reference func(binproxy, root string) (command, error)) (command, command, error) {
	if os.Geteuid() != 0 {
		return command{}, command{}, errors.New("needs root: a Debian root has other users' files")
	}
	if err := buildProgram(ctx, dir); err != nil {
		return command{}, command{}, err
	}
	binproxy, root := filepath.Join(dir, "binproxy"), filepath.Join(dir, "root")
	theirs, err := reference(binproxy, root)
	if err != nil {
		return command{}, command{}, err
	}
	ours := command{path: binproxy, args: append([]string{"run", "--route", "supervise", "--root", root, "--"}, j.argv...)}
	archive, err := guestRoot(ctx, filepath.Dir(dir), binproxy, j.first)
	if err != nil {
		return command{}, command{}, err
	}
	if err := unpack(ctx, archive, root); err != nil {
		return command{}, command{}, err
	}
	before := func(ctx context.Context) error { return j.before(ctx, binproxy, archive, root) }
	ours.env, theirs.env, ours.before, theirs.before = guestEnv, guestEnv, before, before
	return ours, theirs, nil
}

// before brings the root to the state in which the job begins. It is not measured.
func (j job) before(ctx context.Context, binproxy, archive, root string) error {
	if j.first || j.fresh {
		if err := os.RemoveAll(root); err != nil {
			return err
		}
		return unpack(ctx, archive, root)
	}
	if j.again == "" {
		return nil
	}
	return inGuest(ctx, binproxy, root, j.again)
}

// guestRoot is the archive of a root: debootstrap's first stage, or a complete root made from it,
// once for all rows.
func guestRoot(ctx context.Context, shared, binproxy string, first bool) (string, error) {
	unpacked, err := lab.MakeFirstStage(ctx, "arm64", os.Stderr)
	if err != nil || first {
		return unpacked, err
	}
	archive := filepath.Join(shared, "guest.tar")
	if _, err := os.Stat(archive); err == nil {
		return archive, nil
	}
	root := filepath.Join(shared, "guest")
	if err := unpack(ctx, unpacked, root); err != nil {
		return "", err
	}
	if err := inGuest(ctx, binproxy, root, "/debootstrap/debootstrap --second-stage && cat >/etc/resolv.conf"); err != nil {
		return "", err
	}
	if err := inGuest(ctx, binproxy, root, prepareRoot); err != nil {
		return "", err
	}
	return archive, quiet(exec.CommandContext(ctx, "tar", "-C", root, "--numeric-owner", "-cf", archive, "."))
}

func unpack(ctx context.Context, archive, root string) error {
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	return quiet(exec.CommandContext(ctx, "tar", "-C", root, "--numeric-owner", "-xpf", archive))
}

// inGuest runs a shell script in the root, with this machine's resolv.conf as its input.
func inGuest(ctx context.Context, binproxy, root, script string) error {
	cmd := exec.CommandContext(ctx, binproxy, "run", "--root", root, "--", "/bin/sh", "-c", script)
	text, err := os.ReadFile("/etc/resolv.conf")
	if err != nil {
		return err
	}
	cmd.Env, cmd.Stdin = guestEnv, strings.NewReader(string(text))
	return quiet(cmd)
}
