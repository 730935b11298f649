package uml

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"binproxy/test/lib/need"
)

// TestNet fetches 30 MB, as much as an apt-get update, from a server on the host's loopback, over
// each transport.
func TestNet(t *testing.T) {
	need.Program(t, "slirp4netns", "slirp4netns")
	need.Program(t, "slirp-fullbolt", "slirp")
	data := make([]byte, 30_000_000)
	random := rand.NewChaCha8([32]byte{2})
	random.Read(data)
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(data) })}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	port := listener.Addr().(*net.TCPAddr).Port
	want := fmt.Sprintf("%x  -\n", sha256.Sum256(data))
	script := fmt.Sprintf("wget -q -O - http://10.0.2.2:%d/ | sha256sum", port)
	each(t, func(t *testing.T, c *testCase) {
		assert.Equal(t, want, c.sh(t, script, "--net"))
		if c.name == debian {
			assert.Equal(t, want, c.sh(t, script, "--net=slirp"))
		}
	})
}

// TestPublish answers on one port of the host's loopback, and on no other.
func TestPublish(t *testing.T) {
	need.Program(t, "slirp4netns", "slirp4netns")
	c := one(t)
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	port := listener.Addr().(*net.TCPAddr).Port
	listener.Close()
	cmd := c.command("--net", "--publish", fmt.Sprintf("%d:80", port), "--", "sh", "-c", "echo page >/www/index.html; httpd -h /www; echo ready; exec sleep 60")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	p := start(t, cmd)
	_, err = io.ReadFull(out, make([]byte, len("ready\n")))
	require.NoError(t, err)
	var page []byte
	for range 50 { // the guest's server binds its port in the background
		if r, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/index.html", port)); err == nil {
			page, _ = io.ReadAll(r.Body)
			r.Body.Close()
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	assert.Equal(t, "page\n", string(page))
	assert.Equal(t, []string{fmt.Sprintf("0100007F:%04X", port)}, listening(t, p.Process.Pid), "what the run listens on")
	require.NoError(t, p.Process.Signal(unix.SIGTERM))
	p.wait()
	http.DefaultClient.CloseIdleConnections()
}

// listening lists the TCP sockets of the host on which a process or its children listen, with
// their addresses as in /proc/net/tcp.
func listening(t *testing.T, pid int) []string {
	text, err := os.ReadFile("/proc/net/tcp")
	require.NoError(t, err)
	own := sockets(pid)
	var found []string
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 9 && f[3] == "0A" && own["socket:["+f[9]+"]"] {
			found = append(found, f[1])
		}
	}
	return found
}

// sockets are the open sockets of a process and its children.
func sockets(pid int) map[string]bool {
	found := map[string]bool{}
	dir := fmt.Sprintf("/proc/%d/", pid)
	fds, _ := filepath.Glob(dir + "fd/*")
	for _, fd := range fds {
		if target, _ := os.Readlink(fd); strings.HasPrefix(target, "socket:") {
			found[target] = true
		}
	}
	lists, _ := filepath.Glob(dir + "task/*/children")
	for _, list := range lists {
		text, _ := os.ReadFile(list)
		for _, child := range strings.Fields(string(text)) {
			n, _ := strconv.Atoi(child)
			maps.Copy(found, sockets(n))
		}
	}
	return found
}

// TestNames is the article's last step: nslookup in the guest, against a resolver that this test
// runs in a network namespace of its own.
func TestNames(t *testing.T) {
	need.Program(t, "slirp4netns", "slirp4netns")
	unshare := need.Program(t, "unshare", "util-linux")
	self, err := os.Executable()
	require.NoError(t, err)
	each(t, func(t *testing.T, c *testCase) {
		copied := filepath.Join(c.dir, "helper")
		require.NoError(t, copyFile(self, copied))
		inner := c.command("--net", "--", "nslookup", "guest.example")
		cmd := exec.Command(unshare, append([]string{"--mount", "--net", "--map-root-user", copied}, inner.Args...)...)
		cmd.Dir, cmd.SysProcAttr, cmd.Env = inner.Dir, inner.SysProcAttr, append(inner.Env, "UML_TEST_HELPER=resolver", "UML_TEST_DIR="+c.dir)
		r := finish(t, cmd, nil)
		assert.Equal(t, 0, r.status, r.stderr)
		assert.Contains(t, r.stdout, "10.0.2.3")
		assert.Contains(t, r.stdout, "192.0.2.77")
	})
}

// helper is this program in namespaces of its own: it answers names on 127.0.0.1:53, and runs its
// command.
func helper(mode string) {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, mode, err)
			os.Exit(99)
		}
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	fail(err)
	ifr, err := unix.NewIfreq("lo")
	fail(err)
	ifr.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	fail(unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr))
	conf := filepath.Join(os.Getenv("UML_TEST_DIR"), "resolv.conf")
	fail(os.WriteFile(conf, []byte("nameserver 127.0.0.1\n"), 0o644))
	at, err := filepath.EvalSymlinks("/etc/resolv.conf")
	fail(err)
	fail(unix.Mount(conf, at, "", unix.MS_BIND, ""))
	socket, err := net.ListenPacket("udp4", "127.0.0.1:53")
	fail(err)
	go answer(socket)
	os.Unsetenv("UML_TEST_HELPER")
	cmd := exec.Command(os.Args[1], os.Args[2:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Run()
	os.Exit(cmd.ProcessState.ExitCode())
}

// answer gives every A question the address 192.0.2.77, and every other an empty answer.
func answer(socket net.PacketConn) {
	buf := make([]byte, 512)
	for {
		n, from, err := socket.ReadFrom(buf)
		if err != nil {
			return
		}
		if n < 17 {
			continue
		}
		reply := append([]byte{}, buf[:n]...)
		reply[2], reply[3] = 0x81, 0x80
		end := 12 + bytes.IndexByte(reply[12:], 0) + 5
		reply = reply[:end]
		binary.BigEndian.PutUint16(reply[6:], 0)
		binary.BigEndian.PutUint32(reply[8:], 0)
		if binary.BigEndian.Uint16(reply[end-4:]) == 1 {
			binary.BigEndian.PutUint16(reply[6:], 1)
			reply = append(reply, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 77)
		}
		socket.WriteTo(reply, from)
	}
}
