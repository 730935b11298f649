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
	Usage: `--arch ARCH [--from BACKEND] [FLAG...] DIR
       binproxy bootstrap --remove DIR

Makes a root in DIR, which is new or empty, by a distribution's own bootstrapper, or from a container image. The programs of the
root that the bootstrapper runs go through an emulator in a user namespace: nothing is registered with the host, and no
privilege is needed but subordinate ids (/etc/subuid).

  --arch ARCH        arm64, armhf, linux/riscv64 ...
  --from BACKEND     debootstrap (the default), mmdebstrap, dnf, zypper or apk; or
                     oci:DIR[:REF]  an OCI image layout, with several images the one of that name
                     tar:FILE       what docker save, docker export or tar has written; may be packed with gzip or zstd
  --suite S          the release: bookworm, 42 ... (Debian's default: stable)
  --mirror URL       where the packages are; dnf, zypper and apk have no default
  --variant V        debootstrap's and mmdebstrap's variant (default: minbase); custom: only what --include names
  --include P[,P...] packages to install besides
  --keyring FILE     the keys that sign (apk: a directory of them); what is not signed by them ends the run
  --emulator FILE    a static emulator, instead of searching beside binproxy and in PATH
  --route R          how programs of the root reach the emulator: userns, by the kernel (Linux 6.7 and later), or supervise, by
                     a supervisor; default: the first that works
  --restart          remove what an interrupted run for DIR left, and begin anew
  --remove           only remove that

The root grows in .DIR.bootstrap beside DIR, and is moved to DIR when it is whole.
`,
	Run: run,
}

func run(args []string) error {
	if len(args) == 2 && args[0] == bootstrap.Entrypoint {
		return bootstrap.Inside(args[1])
	}
	var o bootstrap.Options
	flags := applet.NewFlags("bootstrap")
	abi := flags.String("arch", "", "")
	include := flags.String("include", "", "")
	remove := flags.Bool("remove", false, "")
	flags.StringVar(&o.From, "from", "debootstrap", "")
	flags.StringVar(&o.Suite, "suite", "", "")
	flags.StringVar(&o.Mirror, "mirror", "", "")
	flags.StringVar(&o.Variant, "variant", "", "")
	flags.StringVar(&o.Keyring, "keyring", "", "")
	flags.StringVar(&o.Emulator, "emulator", "", "")
	flags.StringVar(&o.Route, "route", "", "")
	flags.BoolVar(&o.Restart, "restart", false, "")
	operands, err := flags.Parse(args)
	if err != nil {
		return err
	}
	if len(operands) != 1 || operands[0] == "" {
		return exit.Errorf(exit.Failed, "bootstrap: name one directory for the root; see binproxy help bootstrap")
	}
	o.Dir = operands[0]
	if *remove {
		return bootstrap.Remove(o.Dir)
	}
	if *abi == "" {
		return exit.Errorf(exit.Failed, "bootstrap: --arch is missing, as in --arch arm64; see binproxy help bootstrap")
	}
	if o.ABI, err = arch.Parse(*abi); err != nil {
		return err
	}
	if err := bootstrap.CheckRoute(o.Route); err != nil {
		return exit.Errorf(exit.Failed, "bootstrap: %w", err)
	}
	if *include != "" {
		o.Include = strings.Split(*include, ",")
	}
	return bootstrap.Run(o)
}
