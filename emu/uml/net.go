package uml

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"binproxy/emu/entrypoint"

	"golang.org/x/sys/unix"

	"binproxy/emu/sys"
)

// Transport is how the guest's network leaves the guest.
type Transport int

// Auto is Vector if the kernel has it, else Slirp.
const (
	None   Transport = iota
	Auto             // whichever the kernel has
	Vector           // Ethernet frames to slirp4netns, over a socket
	Slirp            // SLIP to slirp(1), over its standard input and output
)

// Publish is a port of the host that leads to a port of the guest.
type Publish struct {
	Proto       string // tcp or udp
	HostAddr    string
	Host, Guest uint16
}

func (p Publish) String() string {
	return fmt.Sprintf("%s:%d:%d/%s", p.HostAddr, p.Host, p.Guest, p.Proto)
}

// slirpPath is slirp's path in the jail.
const slirpPath = "/slirp"

// setNet picks the transport and finds its helper.
func (o *Options) setNet(j *job, k *Kernel) error {
	config, err := k.Config()
	if err != nil {
		return err
	}
	if o.Net == Auto {
		o.Net = Slirp
		if config["UML_NET_VECTOR"] == "y" {
			o.Net = Vector
		}
	}
	option := map[Transport]string{Vector: "UML_NET_VECTOR", Slirp: "UML_NET_SLIRP"}[o.Net]
	if config[option] != "y" {
		return fmt.Errorf("--net: the kernel %s (%s) has no CONFIG_%s", k.Path, k.Release, option)
	}
	if o.Net == Vector {
		j.Net = vectorNIC
		_, err := program("slirp4netns", "slirp4netns")
		return err
	}
	j.Net = slirpNIC
	if len(o.Publish) > 0 {
		return errors.New("--publish does not work with the slirp transport; use a kernel with CONFIG_UML_NET_VECTOR")
	}
	// Debian's slirp proper works on a terminal only
	path, err := program("slirp-fullbolt", "slirp")
	if err != nil {
		return err
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return err
	}
	libs, err := libraries(path)
	if err != nil {
		return fmt.Errorf("%s: its libraries: %w", path, err)
	}
	j.Helper, j.HelperLibs = path, libs
	if conf, err := filepath.EvalSymlinks("/etc/resolv.conf"); err == nil {
		j.HelperLibs = append(j.HelperLibs, conf, "/etc/resolv.conf")
	}
	return nil
}

// program finds a helper in PATH and in the directories of administrators' programs.
func program(name, pkg string) (string, error) {
	for _, candidate := range []string{name, "/usr/sbin/" + name, "/usr/bin/" + name} {
		if path, err := exec.LookPath(candidate); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("--net needs the program %s (Debian's package %s)", name, pkg)
}

// slirp4netns is the running helper. It ends with its lifeline, and with us.
type slirp4netns struct {
	cmd      *exec.Cmd
	lifeline *os.File
}

// The helper's sockets are in a tmpfs over /proc, in a mount namespace of its own. We reach them
// through the root of its process, so no file is left, however suddenly we end.
const (
	netSocket = "/proc/net.sock"
	apiSocket = "/proc/api.sock"
)

// startNet starts slirp4netns, publishes the ports, and returns the socket that carries the
// guest's frames.
func (h *host) startNet() (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	start := func(user bool) error {
		h.net = &slirp4netns{cmd: entrypoint.Command(entrypoint.Network, &entrypoint.Nothing{}), lifeline: w}
		h.net.cmd.ExtraFiles = []*os.File{r}
		h.net.cmd.SysProcAttr = namespaces(user)
		h.net.cmd.SysProcAttr.Setsid = true
		// slirp4netns forks; its children end with it.
		h.net.cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWPID
		return h.net.cmd.Start()
	}
	err = start(os.Geteuid() != 0)
	if errors.Is(err, unix.EPERM) && os.Geteuid() == 0 {
		err = start(true)
	}
	if err != nil {
		h.net = nil
		return nil, fmt.Errorf("start slirp4netns: %w; %s", err, whyNoNamespaces())
	}
	socket, err := h.net.connect(netSocket, unix.SOCK_SEQPACKET)
	if err != nil {
		return nil, err
	}
	for _, p := range h.options.Publish {
		if err := h.net.publish(p); err != nil {
			socket.Close()
			return nil, err
		}
	}
	return socket, nil
}

// NetHelper makes the place for the sockets and becomes slirp4netns. Its messages go to the
// caller's standard error.
func NetHelper(words []string) error {
	if err := entrypoint.Read(words, &entrypoint.Nothing{}); err != nil {
		return err
	}
	if err := mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := mount("tmpfs", "/proc", "tmpfs", unix.MS_NOSUID, "mode=755,size=64k"); err != nil {
		return err
	}
	path, err := program("slirp4netns", "slirp4netns")
	if err != nil {
		return err
	}
	// slirp4netns looks at its lifeline only after someone has connected. The signal for the
	// parent's death belongs to a thread: Go set it for the thread that it started with, but the
	// thread that execs needs it.
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(syscall.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("prctl PR_SET_PDEATHSIG: %w", err)
	}
	if ended, err := sys.Readable(3, 0); ended || err != nil {
		return errors.New("the parent has ended")
	}
	return syscall.Exec(path, []string{"slirp4netns", "--target-type=bess", "--exit-fd=3", "--api-socket=" + apiSocket, netSocket}, os.Environ())
}

// connect connects to one of the helper's sockets as soon as that exists.
func (s *slirp4netns) connect(path string, kind int) (*os.File, error) {
	at := fmt.Sprintf("/proc/%d/root%s", s.cmd.Process.Pid, path)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		fd, err := unix.Socket(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return nil, fmt.Errorf("socket: %w", err)
		}
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: at})
		if err == nil {
			return os.NewFile(uintptr(fd), path), nil
		}
		unix.Close(fd)
		if pid, ws, _ := sys.WaitChild(s.cmd.Process.Pid, syscall.WNOHANG); pid > 0 {
			s.cmd = nil
			return nil, fmt.Errorf("slirp4netns ended with status %d", ws.ExitStatus())
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("slirp4netns: connect to %s: %w", path, err)
		}
	}
}

// publish asks slirp4netns for a port. Its API takes one JSON object for each connection.
func (s *slirp4netns) publish(p Publish) error {
	f, err := s.connect(apiSocket, unix.SOCK_STREAM)
	if err != nil {
		return err
	}
	defer f.Close()
	fmt.Fprintf(f, `{"execute":"add_hostfwd","arguments":{"proto":"%s","host_addr":"%s","host_port":%d,"guest_addr":"%d.%d.%d.%d","guest_port":%d}}`,
		p.Proto, p.HostAddr, p.Host, vectorAddress[0], vectorAddress[1], vectorAddress[2], vectorAddress[3], p.Guest)
	unix.Shutdown(int(f.Fd()), unix.SHUT_WR)
	answer, err := io.ReadAll(f)
	if err != nil || !strings.Contains(string(answer), `"return"`) {
		return fmt.Errorf("--publish %v: slirp4netns says %s", p, strings.TrimSpace(string(answer)))
	}
	return nil
}

// stop ends the helper, which would spin after the guest has ended.
func (s *slirp4netns) stop() {
	s.lifeline.Close()
	if s.cmd != nil {
		s.cmd.Process.Kill()
		s.cmd.Wait()
	}
}
