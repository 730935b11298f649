// Package bootstrap is the applet that makes roots of other architectures.
package bootstrap

import (
	"strings"

	"binproxy/applets/applet"
	"binproxy/emu/arch"
	"binproxy/emu/bootstrap"
	"binproxy/emu/exit"
)

// Applet is the row of the table.
var Applet = applet.Applet{
	Name:     "bootstrap",
	Synopsis: "make a root of another architecture",
	Text: `
Makes a root in DIR, which is new or empty, by a distribution's own bootstrapper, or from a
container image. The programs of the root that the bootstrapper runs go through an emulator in a
user namespace: nothing is registered with the host, and no privilege is needed but subordinate ids
(/etc/subuid).

BACKEND is debootstrap, mmdebstrap, dnf, zypper or apk; or

  oci:DIR[:REF]  an OCI image layout; REF names one of several images
  tar:FILE       what docker save, docker export or tar has written; may be
                 packed with gzip or zstd

The root grows in .DIR.bootstrap beside DIR, and is moved to DIR when it is whole.
`,
	Commands: []applet.Command{{Args: "--arch ARCH [--from BACKEND] [FLAG...] DIR\n--remove DIR", Flags: flags}},
}

// options are the flags' values.
type options struct {
	bootstrap.Options
	abi, include string
	remove       bool
}

func flags(f applet.Flags) applet.Run {
	var o options
	f.Arch(&o.abi, "`ARCH` arm64, armhf, linux/riscv64 ... (default: TARGETPLATFORM, else DOCKER_DEFAULT_PLATFORM)")
	f.StringVar(&o.From, "from", "debootstrap", "`BACKEND` what makes the root")
	f.StringVar(&o.Suite, "suite", "", "`S` the release: bookworm, 42 ... (Debian's default: stable)")
	f.StringVar(&o.Mirror, "mirror", "", "`URL` where the packages are; dnf, zypper and apk have no default")
	f.StringVar(&o.Variant, "variant", "", "`V` debootstrap's and mmdebstrap's variant (default: minbase); custom: only what --include names")
	f.StringVar(&o.include, "include", "", "`P[,P...]` further packages to install")
	f.StringVar(&o.Keyring, "keyring", "", "`FILE` the signing keys (apk: a directory of them); what they do not sign ends the run")
	f.StringVar(&o.Emulator, "emulator", "", "`FILE` a static emulator, instead of searching beside binproxy and in PATH")
	f.StringVar(&o.Route, "route", "", "`R` how programs of the root reach the emulator: userns, by the kernel (Linux 6.7 and later), or supervise, by a supervisor (default: the first that works)")
	f.BoolVar(&o.Restart, "restart", false, "remove what an interrupted run for DIR left, and begin anew")
	f.BoolVar(&o.remove, "remove", false, "only remove what an interrupted run for DIR left")
	return func(operands []string) error { return run(operands, o) }
}

func run(operands []string, o options) (err error) {
	if len(operands) != 1 || operands[0] == "" {
		return exit.Errorf(exit.Failed, "bootstrap: name one directory for the root; see binproxy help bootstrap")
	}
	o.Dir = operands[0]
	if o.remove {
		return bootstrap.Remove(o.Dir)
	}
	if o.ABI, err = applet.Guest(o.abi, arch.Parse); err != nil {
		return exit.Errorf(exit.Failed, "bootstrap: %w", err)
	}
	if o.ABI == nil {
		return exit.Errorf(exit.Failed, "bootstrap: --arch is missing, as in --arch arm64; see binproxy help bootstrap")
	}
	if err := bootstrap.CheckRoute(o.Route); err != nil {
		return exit.Errorf(exit.Failed, "bootstrap: %w", err)
	}
	if o.include != "" {
		o.Include = strings.Split(o.include, ",")
	}
	return bootstrap.Run(o.Options)
}
