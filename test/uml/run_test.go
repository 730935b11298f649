package uml

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"binproxy/emu/uml"
	"binproxy/test/lib/need"
)

// TestGuest looks around in the guest.
func TestGuest(t *testing.T) {
	eachUser(t, func(t *testing.T, c *testCase) {
		k, err := uml.Open(c.kernel)
		require.NoError(t, err)
		out := c.sh(t, `uname -r; id -u; echo "$GREETING"; pwd; cat /etc/motd; grep -c . /proc/1/status >/dev/null && echo proc; ls -d /sys/kernel; `+
			`test -c /dev/null && ls -d /dev/pts/ptmx; for d in /dev/shm /tmp /run; do echo x >$d/x && cat $d/x; done; ls /sys/class/net; cat /proc/1/comm`)
		assert.Equal(t, []string{k.Release, "0", "hello  world", "/", "hello", "proc", "/sys/kernel", "/dev/pts/ptmx", "x", "x", "x", "lo", "uml"},
			without(lines(out), "sit0", "bond0", "dummy0", "tunl0", "teql0"))
	})
}

// without leaves out words: the interfaces that Debian's kernel makes by itself and that nobody
// uses.
func without(list []string, words ...string) []string {
	var rest []string
	for _, l := range list {
		if !strings.Contains(" "+strings.Join(words, " ")+" ", " "+l+" ") {
			rest = append(rest, l)
		}
	}
	return rest
}

func TestStreams(t *testing.T) {
	data := make([]byte, 30_000_000)
	random := rand.NewChaCha8([32]byte{1})
	random.Read(data)
	want := sha256.Sum256(data)
	each(t, func(t *testing.T, c *testCase) {
		t.Run("30MB", func(t *testing.T) {
			r := c.run(t, bytes.NewReader(data), "--", "cat")
			require.Equal(t, 0, r.status, r.stderr)
			require.Empty(t, r.stderr)
			require.Equal(t, want, sha256.Sum256([]byte(r.stdout)))
		})
		t.Run("apart", func(t *testing.T) {
			r := c.run(t, strings.NewReader("in\n"), "--", "sh", "-c", `read x; printf 'out %s\r\n\000\004' $x; printf 'err\n' >&2; test -t 0 || test -t 1 || test -t 2 || exit 9`)
			assert.Equal(t, result{9, "out in\r\n\x00\x04", "err\n"}, r)
		})
		t.Run("closed", func(t *testing.T) {
			cmd := c.command("--", "sh", "-c", "cat; echo end")
			script := exec.Command("sh", append([]string{"-c", `exec "$@" <&-`, "sh"}, cmd.Args...)...)
			script.Env, script.Dir, script.SysProcAttr = cmd.Env, cmd.Dir, cmd.SysProcAttr
			assert.Equal(t, result{0, "end\n", ""}, finish(t, script, nil))
		})
		t.Run("reader gone", func(t *testing.T) {
			cmd := c.command("--", "yes")
			r, w, err := os.Pipe()
			require.NoError(t, err)
			cmd.Stdout = w
			p := start(t, cmd)
			w.Close()
			buf := make([]byte, 2)
			_, err = r.Read(buf)
			require.NoError(t, err)
			r.Close()
			assert.Equal(t, "y\n", string(buf))
			assert.Equal(t, -int(syscall.SIGPIPE), p.wait())
		})
	})
}

// TestStatuses runs all 256 on our kernel, as many at a time as there are processors. So it also
// shows that many runs leave nothing behind.
func TestStatuses(t *testing.T) {
	each(t, func(t *testing.T, c *testCase) {
		statuses := []int{0, 1, 127, 134, 255}
		if c.name == ours && c.uid == users()[len(users())-1] {
			statuses = nil
			for n := range 256 {
				statuses = append(statuses, n)
			}
		}
		got := make([]result, len(statuses))
		var wg sync.WaitGroup
		lanes := runtime.NumCPU()
		for lane := range lanes {
			wg.Go(func() {
				for i := lane; i < len(statuses); i += lanes {
					got[i] = c.run(t, nil, "--", "sh", "-c", "exit "+itoa(statuses[i]))
				}
			})
		}
		wg.Wait()
		for i, status := range statuses {
			assert.Equal(t, result{status, "", ""}, got[i], "status %d", status)
		}
	})
}

func TestSignals(t *testing.T) {
	each(t, func(t *testing.T, c *testCase) {
		assert.Equal(t, -9, c.run(t, nil, "--", "sh", "-c", "kill -9 $$").status)
		for _, test := range []struct {
			signal syscall.Signal
			script string
			status int
			out    string
		}{
			{syscall.SIGTERM, `trap 'echo caught; exit 3' TERM; echo ready; while :; do sleep 0.05; done`, 3, "caught\n"},
			{syscall.SIGINT, `echo ready; exec sleep 60`, -2, ""},
		} {
			cmd := c.command("--", "sh", "-c", test.script)
			out, err := cmd.StdoutPipe()
			require.NoError(t, err)
			p := start(t, cmd)
			ready := make([]byte, len("ready\n"))
			_, err = io.ReadFull(out, ready)
			require.NoError(t, err)
			require.Equal(t, "ready\n", string(ready))
			require.NoError(t, p.Process.Signal(test.signal))
			var rest bytes.Buffer
			rest.ReadFrom(out)
			assert.Equal(t, test.status, p.wait())
			assert.Equal(t, test.out, rest.String())
		}
	})
}

// TestTerminal runs a session: sizes, a change of size, an interrupt, the end.
func TestTerminal(t *testing.T) {
	each(t, func(t *testing.T, c *testCase) {
		master, slave := pty(t)
		setSize(t, slave, 33, 101)
		before, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
		require.NoError(t, err)
		cmd := c.command()
		cmd.Env = append(cmd.Env, "PS1=prompt> ")
		cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
		cmd.SysProcAttr.Setsid, cmd.SysProcAttr.Setctty = true, true
		p := start(t, cmd)
		s := &session{t: t, f: master}
		s.expect("prompt> ")
		s.say("stty size; tty; test -t 2 && echo three\r")
		s.expect("33 101\r\n/dev/pts/0\r\nthree\r\n")
		setSize(t, slave, 40, 90)
		s.say("while [ \"$(stty size)\" != '40 90' ]; do sleep 0.05; done; echo resi''zed\r")
		s.expect("resized\r\n")
		s.say("sh -c \"echo sle''eps; exec sleep 300\"\r")
		s.expect("sleeps\r\n")
		s.say("\x03")
		s.expect("prompt> ")
		s.say("echo status $?\r")
		s.expect("status 130\r\n")
		s.say("exit 7\r")
		assert.Equal(t, 7, p.wait())
		after, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
		require.NoError(t, err)
		assert.Equal(t, before, after, "the terminal's settings")
	})
}

// pty opens a pseudo-terminal. Reads of the master can have a deadline.
func pty(t *testing.T) (master, slave *os.File) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	master = os.NewFile(uintptr(fd), "/dev/ptmx")
	require.NoError(t, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	require.NoError(t, err)
	slave, err = os.OpenFile("/dev/pts/"+itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { master.Close(); slave.Close() })
	return master, slave
}

// setSize changes the terminal's window.
func setSize(t *testing.T, slave *os.File, rows, cols uint16) {
	t.Helper()
	require.NoError(t, unix.IoctlSetWinsize(int(slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols}))
}

// session is a dialogue on a terminal.
type session struct {
	t   *testing.T
	f   *os.File
	got string
}

func (s *session) say(text string) {
	_, err := s.f.WriteString(text)
	require.NoError(s.t, err)
}

// expect reads until the text has come.
func (s *session) expect(text string) {
	s.t.Helper()
	require.NoError(s.t, s.f.SetReadDeadline(time.Now().Add(time.Minute)))
	buf := make([]byte, 4096)
	for {
		if _, after, found := strings.Cut(s.got, text); found {
			s.got = after
			return
		}
		n, err := s.f.Read(buf)
		if err != nil {
			s.t.Fatalf("%v; waited for %q, got %q", err, text, s.got)
		}
		s.got += string(buf[:n])
	}
}

// TestArch runs an arm64 program, in a root that has nothing else, and as a child of itself.
func TestArch(t *testing.T) {
	need.Emulator(t, "aarch64")
	root := filepath.Join(shared, "arm64")
	each(t, func(t *testing.T, c *testCase) {
		k, err := uml.Open(c.kernel)
		require.NoError(t, err)
		before := snapshot(t, root)
		r := c.run(t, nil, "--root", root, "--arch", "arm64", "--", "/bin/sh", "twice")
		assert.Equal(t, fmt.Sprintf("arm64 aarch64 %s [/bin/sh twice]\narm64 aarch64 %[1]s [/bin/sh a b]\n", k.Release), r.stdout)
		assert.Equal(t, 9, r.status, r.stderr)
		// Without /dev and /proc, which a directory does not get if it is written to itself.
		r = c.run(t, nil, "--root", root, "--rw", "--arch", "arm64", "--", "/bin/sh", "once")
		assert.Equal(t, result{0, fmt.Sprintf("arm64 aarch64 %s [/bin/sh once]\n", k.Release), ""}, r)
		assert.Equal(t, before, snapshot(t, root))
	})
}

// TestHostRoot runs on the host's own root, which is the default.
func TestHostRoot(t *testing.T) {
	eachUser(t, func(t *testing.T, c *testCase) {
		cmd := c.command("--root", "/", "--", "sh", "-c", "pwd; ls; echo >/etc/binproxy-uml-test && echo written")
		cmd.Dir = c.dir
		r := finish(t, cmd, nil)
		assert.NoFileExists(t, "/etc/binproxy-uml-test")
		want := c.dir + "\nhome\ntmp\n"
		if c.uid != 0 {
			want += "written\n"
		}
		assert.Equal(t, want, r.stdout, r.stderr)
	})
}
