// Package uml is the applet that runs a command under a User Mode Linux kernel, and that makes and
// lists such kernels.
package uml

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"

	"binproxy/applets/applet"
	"binproxy/emu/arch"
	"binproxy/emu/exit"
	"binproxy/emu/uml"
)

// Applet is the row of the table.
var Applet = applet.Applet{
	Name:     "uml",
	Synopsis: "run a command under a kernel of its own",
	Commands: []applet.Command{
		{Name: "run", Args: "[FLAG...] [--] [COMMAND...]", Leads: true, Flags: runFlags,
			Text: "boot a User Mode Linux kernel, an ordinary process, on a directory of the host, and run COMMAND there as root, with its own standard input, output, error and terminal; its exit status is ours. Without COMMAND: a shell"},
		{Name: "kernel build", Args: "[--version V] [--source FILE]", Flags: buildFlags,
			Text: "make a kernel from Debian's package linux-source-V, or from the source in FILE, and keep it in the cache directory. It needs gcc, make, flex, bison, bc and xz"},
		{Name: "kernel fetch", Run: fetch,
			Text: "keep in the cache directory the kernel that Debian's next release has as the package user-mode-linux, with the loader and libraries that it runs by"},
		{Name: "kernel list", Text: "list the kernels here, and what each can do", Run: list},
	},
}

func usage(format string, args ...any) error {
	return exit.Errorf(exit.Failed, "uml: "+format+"; see binproxy help uml", args...)
}

func runFlags(f applet.Flags) applet.Run {
	var o uml.Options
	f.StringVar(&o.Kernel, "kernel", "", "`FILE` the kernel's file, or a release that kernel list shows")
	f.StringVar(&o.Root, "root", "", "`DIR` the root directory (default: the host's)")
	f.StringVar(&o.Upper, "upper", "", "`DIR` keep the layer of --overlay in DIR/layer, a tree of files, and begin with the one that is there")
	f.StringVar(&o.Emulator, "emulator", "", "`FILE` the static emulator for --arch")
	f.StringVar(&o.MemDir, "memdir", "", "`DIR` a directory for the guest's memory (default: a tmpfs of its own)")
	f.DurationVar(&o.Timeout, "timeout", 0, "`TIME` end the guest after TIME (90s, 5m ...), with status 125 and the end of the kernel's log")
	for _, m := range [...]struct {
		name  string
		mode  uml.Mode
		usage string
	}{
		{"ro", uml.ReadOnly, "the root is read-only (the default for root)"},
		{"overlay", uml.Overlay, "writes go to a layer that is thrown away (the default for an ordinary user)"},
		{"rw", uml.ReadWrite, "writes go to DIR"},
	} {
		f.BoolFunc(m.name, m.usage, func(string) error { return setMode(&o.Mode, m.mode) })
	}
	f.BoolFunc("net", "`[=vector|slirp]` a network with DNS, TCP and UDP out; the host is 10.0.2.2", func(s string) (err error) { o.Net, err = transport(s); return })
	f.Func("mem", "`SIZE` the guest's memory (default: 64M)", func(s string) (err error) { o.Mem, err = mebibytes(s); return })
	f.BoolVar(&o.Seccomp, "seccomp", false, "run the guest's processes by seccomp, not by ptrace: faster, and where ptrace is refused, but no boundary between them and the guest's kernel")
	f.Func("append", "`WORDS` more words for the kernel's command line", func(s string) error { o.Append = append(o.Append, strings.Fields(s)...); return nil })
	f.Func("bind", "`SRC:DST[:ro]` show a directory or file of the host in the guest", func(s string) error { return add(&o.Binds, s, bind) })
	f.Func("publish", "`[ADDR:]HOST:GUEST[/udp]` forward a port of the host (of 127.0.0.1 without ADDR) to one of the guest", func(s string) error { return add(&o.Publish, s, publish) })
	guest := func(s string) (err error) { o.Arch, err = arch.Parse(s); return }
	f.Func("arch", "`ARCH` run ARCH's programs too, by a static emulator", guest)
	f.Func("platform", "`PLATFORM` the same as --arch", guest)
	return func(command []string) error {
		o.Command = command
		return uml.Run(o)
	}
}

func setMode(mode *uml.Mode, to uml.Mode) error {
	if *mode != uml.Default && *mode != to {
		return fmt.Errorf("only one of --ro, --overlay and --rw")
	}
	*mode = to
	return nil
}

func transport(s string) (uml.Transport, error) {
	switch s {
	case "true":
		return uml.Auto, nil
	case "vector":
		return uml.Vector, nil
	case "slirp":
		return uml.Slirp, nil
	}
	return uml.None, fmt.Errorf("%q is neither vector nor slirp", s)
}

// mebibytes reads a size: a number followed by K, M or G.
func mebibytes(s string) (int, error) {
	number, unit := s, byte('M')
	if s != "" && strings.IndexByte("KMGkmg", s[len(s)-1]) >= 0 {
		number, unit = s[:len(s)-1], s[len(s)-1]&^0x20
	}
	n, err := strconv.ParseUint(number, 10, 31)
	if err != nil {
		return 0, fmt.Errorf("%q is no size such as 64M or 1G", s)
	}
	switch unit {
	case 'K':
		n >>= 10
	case 'G':
		n <<= 10
	}
	return int(max(n, 1)), nil
}

func add[T any](list *[]T, s string, parse func(string) (T, error)) error {
	v, err := parse(s)
	*list = append(*list, v)
	return err
}

// bind reads SRC:DST[:ro].
func bind(s string) (uml.Bind, error) {
	parts := strings.Split(s, ":")
	readOnly := len(parts) == 3 && parts[2] == "ro"
	if len(parts) != 2 && !readOnly || parts[0] == "" || parts[1] == "" {
		return uml.Bind{}, fmt.Errorf("%q is not SRC:DST or SRC:DST:ro", s)
	}
	return uml.Bind{Src: parts[0], Dst: parts[1], ReadOnly: readOnly}, nil
}

// publish reads [ADDR:]HOST:GUEST[/tcp or /udp].
func publish(s string) (uml.Publish, error) {
	p := uml.Publish{Proto: "tcp", HostAddr: "127.0.0.1"}
	ports, proto, named := strings.Cut(s, "/")
	if named {
		p.Proto = proto
	}
	parts := strings.Split(ports, ":")
	if len(parts) == 3 {
		if !isIPv4(parts[0]) {
			return p, fmt.Errorf("%q is not an IPv4 address", parts[0])
		}
		p.HostAddr, parts = parts[0], parts[1:]
	}
	if len(parts) != 2 || p.Proto != "tcp" && p.Proto != "udp" {
		return p, fmt.Errorf("%q is not [ADDR:]HOST:GUEST[/udp]", s)
	}
	for i, port := range []*uint16{&p.Host, &p.Guest} {
		n, err := strconv.ParseUint(parts[i], 10, 16)
		if err != nil || n == 0 {
			return p, fmt.Errorf("%q is no port", parts[i])
		}
		*port = uint16(n)
	}
	return p, nil
}

// isIPv4 reports whether s is an address of four decimal numbers. (Package net/netip costs every
// start of the program.)
func isIPv4(s string) bool {
	parts := strings.Split(s, ".")
	for _, part := range parts {
		if n, err := strconv.ParseUint(part, 10, 8); err != nil || strconv.FormatUint(n, 10) != part {
			return false
		}
	}
	return len(parts) == 4
}

func list(args []string) error {
	if len(args) > 0 {
		return usage("kernel list takes no %q", args[0])
	}
	kernels := uml.Kernels()
	if len(kernels) == 0 {
		_, err := uml.Find("")
		return err
	}
	for _, k := range kernels {
		features, err := k.Describe()
		if err != nil {
			return err
		}
		fmt.Printf("%s\t%s\n", k.Release, k.Path)
		w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
		for _, f := range features {
			fmt.Fprintf(w, "  %s\t%s\n", f.Name, f.State)
		}
		w.Flush()
	}
	return nil
}

func buildFlags(f applet.Flags) applet.Run {
	o := uml.BuildOptions{Progress: os.Stderr}
	f.StringVar(&o.Version, "version", "", "`V` the series of linux-source-V (default: the newest of Debian's backports or its next release)")
	f.StringVar(&o.Source, "source", "", "`FILE` a tar file with the source of Linux")
	return func(operands []string) error { return build(operands, o) }
}

func build(operands []string, o uml.BuildOptions) error {
	if len(operands) > 0 {
		return usage("kernel build takes no %q", operands[0])
	}
	path, err := uml.Build(o)
	if err != nil {
		return exit.With(exit.Failed, fmt.Errorf("uml kernel build: %w", err))
	}
	fmt.Println(path)
	return nil
}

func fetch(args []string) error {
	if len(args) > 0 {
		return usage("kernel fetch takes no %q", args[0])
	}
	path, err := uml.Fetch(os.Stderr)
	if err != nil {
		return exit.With(exit.Failed, fmt.Errorf("uml kernel fetch: %w", err))
	}
	fmt.Println(path)
	return nil
}
