package uml

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"binproxy/emu/sys"
)

// slirp4netns and slirp show their guest the same network: the router's address leads to the
// host's loopback, and the resolver is the host's.
var (
	vectorAddress = [4]byte{10, 0, 2, 100}
	slirpAddress  = [4]byte{10, 0, 2, 15}
	netGateway    = [4]byte{10, 0, 2, 2}
)

const netResolver = "10.0.2.3"

// These are the interfaces, by the kernel's transport.
const (
	vectorNIC = "vec0"
	slirpNIC  = "eth0"
)

// network brings up the loopback interface, and with --net also the transport's interface, with an
// address and a default route.
func (g *guest) network() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("the kernel has no network: %w", err)
	}
	defer unix.Close(fd)
	if err := linkUp(fd, "lo"); err != nil || g.job.Net == "" {
		return err
	}
	address := vectorAddress
	if g.job.Net == slirpNIC {
		address = slirpAddress
	}
	for _, set := range []struct {
		call  uint
		value [4]byte
	}{{unix.SIOCSIFADDR, address}, {unix.SIOCSIFNETMASK, [4]byte{255, 255, 255, 0}}} {
		ifr, err := unix.NewIfreq(g.job.Net)
		if err != nil {
			return err
		}
		if err := ifr.SetInet4Addr(set.value[:]); err != nil {
			return err
		}
		if err := unix.IoctlIfreq(fd, set.call, ifr); err != nil {
			return fmt.Errorf("set an address of %s: %w", g.job.Net, err)
		}
	}
	if err := linkUp(fd, g.job.Net); err != nil {
		return err
	}
	return addDefaultRoute(netGateway)
}

func linkUp(fd int, name string) error {
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, ifr); err != nil {
		return fmt.Errorf("no interface %s: %w", name, err)
	}
	ifr.SetUint16(ifr.Uint16() | unix.IFF_UP | unix.IFF_RUNNING)
	return wrap(unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr), "bring up %s", name)
}

// addDefaultRoute asks the kernel by rtnetlink(7).
func addDefaultRoute(gateway [4]byte) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	defer unix.Close(fd)
	const length = unix.SizeofNlMsghdr + unix.SizeofRtMsg + 4 + 4
	order := binary.NativeEndian
	m := order.AppendUint32(nil, length)
	m = order.AppendUint16(m, unix.RTM_NEWROUTE)
	m = order.AppendUint16(m, unix.NLM_F_REQUEST|unix.NLM_F_ACK|unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	m = append(m, make([]byte, 8)...) // sequence number and port
	m = append(m, unix.AF_INET, 0, 0, 0, unix.RT_TABLE_MAIN, unix.RTPROT_BOOT, unix.RT_SCOPE_UNIVERSE, unix.RTN_UNICAST, 0, 0, 0, 0)
	m = order.AppendUint16(m, 8)
	m = order.AppendUint16(m, unix.RTA_GATEWAY)
	m = append(m, gateway[:]...)
	if err := sys.Retry(func() error { return unix.Sendto(fd, m, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}) }); err != nil {
		return fmt.Errorf("add the default route: %w", err)
	}
	answer := make([]byte, 4096)
	n, err := sys.Read(fd, answer)
	if err != nil || n < unix.SizeofNlMsghdr+4 {
		return fmt.Errorf("add the default route: answer of %d bytes: %w", n, err)
	}
	if errno := -int32(order.Uint32(answer[unix.SizeofNlMsghdr:])); errno != 0 {
		return fmt.Errorf("add the default route: %w", unix.Errno(errno))
	}
	return nil
}

const resolvConf = "/etc/resolv.conf"

// resolver makes /etc/resolv.conf name the network's resolver, by a mount, so that the root's own
// file stays. If that file is a link to nowhere (/run is an empty one), resolver makes the file
// there. The guest is already in its root.
func (g *guest) resolver() error {
	if g.job.Net == "" {
		return nil
	}
	const conf, ours = resolvConf, "/run/binproxy-resolv.conf"
	text := []byte("nameserver " + netResolver + "\n")
	if _, err := os.Stat(conf); errors.Is(err, fs.ErrNotExist) {
		path := conf
		if to, err := os.Readlink(conf); err == nil {
			if path = to; !filepath.IsAbs(to) {
				path = filepath.Join("/etc", to)
			}
			os.MkdirAll(filepath.Dir(path), 0o755)
		}
		if g.job.Mode == modeRW && path == conf {
			return nil // the host's directory: add nothing
		}
		os.MkdirAll("/etc", 0o755)
		if err := os.WriteFile(path, text, 0o644); err != nil {
			fmt.Fprintf(os.Stderr, "binproxy: %v: programs will not find the resolver %s\n", err, netResolver)
		}
		return nil
	}
	if err := os.WriteFile(ours, text, 0o644); err != nil {
		return err
	}
	return mount(ours, conf, "", unix.MS_BIND, "")
}
