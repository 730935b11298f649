package execs

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"binproxy/test/lib/built"
	"binproxy/test/lib/need"
)

// terminal is the master of a pseudo-terminal with a shell on it.
type terminal struct {
	*os.File
	came chan []byte
	seen string
}

func newTerminal(t *testing.T) *terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	need.Given(t, err == nil, "a pseudo-terminal")
	t.Cleanup(func() { master.Close() })
	require.NoError(t, unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	require.NoError(t, err)
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR, 0)
	require.NoError(t, err)
	defer slave.Close()
	shell := exec.Command(need.Program(t, "bash", "bash"), "--norc", "--noprofile", "-i")
	shell.Env = []string{"PS1=$ ", "PATH=" + os.Getenv("PATH"), "TERM=dumb"}
	shell.Stdin, shell.Stdout, shell.Stderr = slave, slave, slave
	shell.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	require.NoError(t, shell.Start())
	t.Cleanup(func() { _ = shell.Process.Kill(); _ = shell.Wait() })
	term := &terminal{File: master, came: make(chan []byte, 100)}
	go func() {
		for {
			b := make([]byte, 4096)
			n, err := master.Read(b)
			if err != nil {
				close(term.came)
				return
			}
			term.came <- b[:n]
		}
	}()
	term.expect(t, "$ ")
	return term
}

// expect reads up to the text.
func (term *terminal) expect(t *testing.T, text string) {
	t.Helper()
	require.True(t, term.comes(text, patience), "waiting for %q, have seen %q", text, term.seen)
}

// comes reports whether the text comes within the time; it reads all up to the text.
func (term *terminal) comes(text string, within time.Duration) bool {
	end := time.After(within)
	for {
		if _, rest, ok := strings.Cut(term.seen, text); ok {
			term.seen = rest
			return true
		}
		select {
		case b, ok := <-term.came:
			if !ok {
				return false
			}
			term.seen += string(b)
		case <-end:
			return false
		}
	}
}

func (term *terminal) send(t *testing.T, text string) {
	t.Helper()
	_, err := term.WriteString(text)
	require.NoError(t, err)
}

// Keys, a window's size and a shell's job control reach the command as if the shell itself had
// started it.
func TestTerminal(t *testing.T) {
	a := actor(t)
	term := newTerminal(t)
	term.send(t, built.Binproxy(t)+" run -- "+a+" terminal\n")
	term.expect(t, "<ready>")
	report := func(want string) {
		t.Helper()
		term.send(t, "\n")
		term.expect(t, "<"+want+">")
	}
	report("int 0 quit 0 winch 0 cont 0 size 0x0 foreground 1")
	term.send(t, "\x03")
	time.Sleep(300 * time.Millisecond) // time for a second one to come
	report("int 1 quit 0 winch 0 cont 0 size 0x0 foreground 1")
	term.send(t, "\x1c")
	time.Sleep(300 * time.Millisecond)
	report("int 1 quit 1 winch 0 cont 0 size 0x0 foreground 1")
	require.NoError(t, unix.IoctlSetWinsize(int(term.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 50, Col: 132}))
	time.Sleep(300 * time.Millisecond)
	report("int 1 quit 1 winch 1 cont 0 size 50x132 foreground 1")
	for range 2 {
		term.send(t, "\x1a")
		term.expect(t, "Stopped")
		term.expect(t, "$ ")
		term.send(t, "fg\n")
		time.Sleep(300 * time.Millisecond)
		report("int 1 quit 1 winch 1 cont 1 size 50x132 foreground 1")
	}
	term.send(t, "quit\n")
	term.expect(t, "$ ")
	term.send(t, "echo status=$?\n")
	term.expect(t, "status=3")
}

// A background job that reads the terminal is stopped, and continues in the foreground.
func TestBackground(t *testing.T) {
	a := actor(t)
	term := newTerminal(t)
	term.send(t, built.Binproxy(t)+" run -- "+a+" terminal &\n")
	term.expect(t, "<ready>")
	stopped := false
	for end := time.Now().Add(patience); !stopped && time.Now().Before(end); {
		term.send(t, "\n") // a shell reports on its jobs before it prompts
		stopped = term.comes("Stopped", 200*time.Millisecond)
	}
	require.True(t, stopped, "%q", term.seen)
	term.send(t, "fg\n")
	time.Sleep(300 * time.Millisecond)
	term.send(t, "quit\n")
	term.expect(t, "$ ")
	term.send(t, "echo status=$?\n")
	term.expect(t, "status=3")
}
