package launch

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"binproxy/emu/command"
	"binproxy/emu/identity"
	"binproxy/emu/supervise/spoof"
	"binproxy/emu/sys"
)

// A command that keeps its process is the launcher itself: the process that was started, which may
// be PID 1 of a container, becomes the command, and its supervisor is a process that it has made.
// The program executes itself again under the name sys.ForkName, which makes two processes of it.
// Each finds its end of the socket in the Pair.

// Pair is what the two processes share: both ends of the socket, and the command's PID.
type Pair struct {
	ends [2]int
	pid  int
}

// NewPair makes a Pair for this process. Its descriptors are inherited.
func NewPair() (Pair, error) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET, 0)
	if err != nil {
		return Pair{}, fmt.Errorf("socketpair: %w", err)
	}
	return Pair{ends, os.Getpid()}, nil
}

func (p Pair) String() string {
	return strconv.Itoa(p.ends[0]) + " " + strconv.Itoa(p.ends[1]) + " " + strconv.Itoa(p.pid)
}

// ParsePair reads what String has written.
func ParsePair(text string) (p Pair, err error) {
	words := strings.Fields(text)
	if len(words) != 3 {
		return p, fmt.Errorf("%q: not two descriptors and a PID", text)
	}
	for i, to := range []*int{&p.ends[0], &p.ends[1], &p.pid} {
		var wrong error
		*to, wrong = strconv.Atoi(words[i])
		err = errors.Join(err, wrong)
	}
	return p, err
}

// take keeps one end and closes the other.
func (p Pair) take(end int) int {
	unix.Close(p.ends[1-end])
	unix.CloseOnExec(p.ends[end])
	return p.ends[end]
}

// Close closes both ends.
func (p Pair) Close() {
	unix.Close(p.ends[0])
	unix.Close(p.ends[1])
}

// Refuse is for a pair's supervisor that cannot supervise: it tells the launcher why.
func (p Pair) Refuse(why error) { _, _ = sys.Write(p.ends[0], []byte(refusal+why.Error())) }

// Fail is Refuse for a reason that no other route helps against. The launcher reports it, unless
// it has failed as well: both are short of the same things.
func (p Pair) Fail(why error) { _, _ = sys.Write(p.ends[0], []byte(failure+why.Error())) }

// Adopt is for a pair's supervisor: it finds its launcher, which it must then seize.
func Adopt(p Pair) (*Child, error) {
	child := &Child{PID: p.pid, socket: p.take(0)}
	return child, child.meet()
}

// Keep becomes the command of a pair, which the process supervisor supervises. It returns only
// with an error: Refused if the machine does not let us be supervised.
func Keep(c command.Command, p Pair, supervisor int, id identity.Identity, proc identity.Proc) error {
	runtime.LockOSThread()
	socket := p.take(1)
	rules, err := spoof.Prepare(id, proc)
	if err != nil {
		return err
	}
	if err := c.EnterRoot(); err != nil {
		return err
	}
	// Yama lets only ancestors trace, unless a process asks for another; without Yama this fails.
	_ = unix.Prctl(unix.PR_SET_PTRACER, uintptr(supervisor), 0, 0, 0)
	if err := submit(socket, rules); err != nil {
		// A tracer reads the message when a signal is reported to it, and then releases us.
		_ = unix.Tgkill(os.Getpid(), unix.Gettid(), unix.SIGCHLD)
		_, _ = sys.Wait(supervisor)
		unix.Close(socket)
		return err
	}
	return c.Exec()
}
