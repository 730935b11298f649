package uml

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"binproxy/test/lib/need"
)

// TestInputGoesNowhereElse has the guest put links to a file of the host in the places of its
// standard input, before the first piece comes.
func TestInputGoesNowhereElse(t *testing.T) {
	eachUser(t, func(t *testing.T, c *testCase) {
		victim := filepath.Join(c.dir, "victim")
		require.NoError(t, os.WriteFile(victim, []byte("as it was"), 0o600))
		require.NoError(t, os.Chown(victim, c.uid, c.uid))
		cmd := c.command("--", "sh", "-c", `mount -t hostfs none /mnt -o /boot/stdin
			for n in 0 1 2; do ln -s `+victim+` /mnt/$n; done; echo linked; cat`)
		input, err := cmd.StdinPipe()
		require.NoError(t, err)
		output, err := cmd.StdoutPipe()
		require.NoError(t, err)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		p := start(t, cmd)
		line, _ := bufio.NewReader(output).ReadString('\n')
		assert.Equal(t, "linked\n", line)
		_, err = input.Write([]byte("written elsewhere"))
		require.NoError(t, err)
		input.Close()
		assert.Equal(t, 0, p.wait(), "the guest sees the end of its input")
		assert.Equal(t, "binproxy: uml: standard input: file exists\n", stderr.String())
		text, err := os.ReadFile(victim)
		require.NoError(t, err)
		assert.Equal(t, "as it was", string(text))
	})
}

// TestGuestSaysWhatIsNotSo has the guest's root talk for PID 1 on its console: the host side goes
// on, and still ends the run when it is to.
func TestGuestSaysWhatIsNotSo(t *testing.T) {
	t.Run("not so", func(t *testing.T) {
		cmd := one(t).command("--", "sh", "-c", `for n in 1 2 3; do echo took $n; echo ready; printf '\0\377 exit\n\nnonsense\n'; done >/dev/tty1; echo said; exec sleep 600`)
		output, err := cmd.StdoutPipe()
		require.NoError(t, err)
		p := start(t, cmd)
		line, _ := bufio.NewReader(output).ReadString('\n')
		assert.Equal(t, "said\n", line)
		require.NoError(t, p.Process.Signal(syscall.SIGTERM))
		assert.Equal(t, -15, p.wait())
	})
	t.Run("without end", func(t *testing.T) {
		need.Long(t) // ten seconds are left to a kernel that has said its last
		r := one(t).run(t, nil, "--", "sh", "-c", "dd if=/dev/zero bs=70k count=1 2>/dev/null >/dev/tty1; sleep 60")
		assert.Equal(t, 125, r.status)
		assert.Contains(t, r.stderr, "ended with status -1 and without the command's")
	})
}

// TestOutputThatNobodyReads has SIGTERM end a run whose command has ended, and left output that
// its reader does not take: as much as the pipes hold that come before it.
func TestOutputThatNobodyReads(t *testing.T) {
	c := one(t)
	cmd := c.command("--", "sh", "-c", "dd if=/dev/zero bs=64k count=2 2>/dev/null; echo end >&2")
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	cmd.Stdout = w
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	p := start(t, cmd)
	w.Close()
	line, _ := bufio.NewReader(stderr).ReadString('\n')
	assert.Equal(t, "end\n", line)
	ended := make(chan int)
	go func() { ended <- p.wait() }()
	for tick := time.Tick(100 * time.Millisecond); ; {
		select {
		case status := <-ended:
			assert.Equal(t, -15, status)
			return
		case <-tick: // what comes before the end is for the command, which has gone
			_ = p.Process.Signal(syscall.SIGTERM)
		}
	}
}

// prober is a kernel that a guest has taken over, so to speak: a program that says a release, as
// the check before the boot wants it, and then, in the place of a log, what it can do in its jail.
const prober = `#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
static void say(const char *what, long r) { printf("%s: %s\n", what, r < 0 ? strerrorname_np(errno) : "done"); }
int main(int argc, char **argv)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2];
	struct sockaddr_un at = { AF_UNIX, "/root/socket" };
	unsigned long bounding = 0;
	int c, pair[2];
	char ring[120] = { 0 };
	if (argc > 1 && !strcmp(argv[1], "--version"))
		return puts("6.99.1") < 0;
	puts("Linux version 6.99.1");
	syscall(SYS_capget, &header, data);
	for (c = 0; c < 64; c++)
		if (prctl(PR_CAPBSET_READ, c) == 1)
			bounding |= 1UL << c;
	printf("capabilities: %x%08x %x%08x %lx\n", data[1].permitted, data[0].permitted, data[1].inheritable, data[0].inheritable, bounding);
	printf("no new privileges: %d\n", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
	say("inherited file", fcntl(17, F_GETFD));
	say("input of the host side", fcntl(63, F_GETFD));
	say("device", open("/root/device", O_RDWR));
	say("mknod", mknod("/tmp/device", S_IFCHR | 0666, makedev(1, 3)));
	c = socket(AF_UNIX, SOCK_STREAM, 0);
	say("socket", c);
	say("connect", connect(c, (void *)&at, sizeof at));
	say("datagrams", socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
	say("pair", socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	say("connect pair", connect(pair[0], (void *)&at, sizeof at));
	say("netlink", socket(AF_NETLINK, SOCK_RAW, 0));
	say("io_uring", syscall(SYS_io_uring_setup, 1, ring));
	fflush(stdout);
	if (!fork()) {
		// socketcall(socket, ...), as a program of i386
		long r, call = 102, one = 1;
		asm volatile("int $0x80" : "=a"(r) : "a"(call), "b"(one), "c"(0L) : "memory");
		_exit(-r);
	}
	wait(&c);
	printf("i386: %s\n", WIFSIGNALED(c) || WEXITSTATUS(c) == ENOSYS ? "EACCES" : strerrorname_np(WEXITSTATUS(c)));
	return 7;
}
`

// TestJail looks at what the kernel's process has in its jail, as a program in its place: no
// device, no socket, no file of the caller's, and of capabilities those of files only. Where
// nothing of the host can be written to, that is the one to read as root.
func TestJail(t *testing.T) {
	gcc := need.Program(t, "gcc", "gcc")
	t.Parallel()
	for _, uid := range users() {
		for _, mode := range []struct{ option, capabilities string }{{"--ro", "2"}, {"--rw", "1b"}} {
			t.Run(fmt.Sprint(uid, mode.option), func(t *testing.T) {
				c := newCase(t, names()[0], uid)
				kernel, root := filepath.Join(c.dir, "kernel"), filepath.Join(c.dir, "root")
				require.NoError(t, os.WriteFile(kernel+".c", []byte(prober), 0o644))
				tool(t, gcc, "-static", "-D_GNU_SOURCE", "-o", kernel, kernel+".c")
				require.NoError(t, os.Mkdir(root, 0o755))
				require.NoError(t, os.Chown(root, uid, uid))
				listener, err := net.Listen("unix", root+"/socket")
				require.NoError(t, err)
				defer listener.Close()
				require.NoError(t, os.Chmod(root+"/socket", 0o777))
				device := "EACCES"
				if err := unix.Mknod(root+"/device", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))); err != nil {
					device = "ENOENT" // an ordinary user has none
				} else {
					require.NoError(t, os.Chmod(root+"/device", 0o666))
				}
				cmd := c.command("--kernel", kernel, "--root", root, mode.option, "--", "true")
				script := exec.Command("sh", append([]string{"-c", `exec 17</etc/passwd; exec "$@"`, "sh"}, cmd.Args...)...)
				if bash, err := exec.LookPath("bash"); err == nil {
					script.Path = bash // which takes numbers of two digits
				}
				script.Env, script.Dir, script.SysProcAttr = cmd.Env, cmd.Dir, cmd.SysProcAttr
				r := finish(t, script, nil)
				assert.Equal(t, 125, r.status)
				_, says, _ := strings.Cut(r.stderr, "6.99.1\n")
				assert.Equal(t, []string{
					"capabilities: " + fmt.Sprintf("%09s", mode.capabilities) + " 000000000 " + mode.capabilities, "no new privileges: 1",
					"inherited file: EBADF", "input of the host side: EBADF", "device: " + device, "mknod: EPERM", "socket: EACCES", "connect: EBADF",
					"datagrams: EACCES", "pair: done", "connect pair: EISCONN", "netlink: EACCES", "io_uring: EACCES", "i386: EACCES",
				}, lines(says))
			})
		}
	}
}
