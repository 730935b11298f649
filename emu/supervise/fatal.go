package supervise

import (
	"strconv"

	"golang.org/x/sys/unix"

	"binproxy/emu/sys"
)

// The kernel gives a signal for a process to one of its threads: the first one, unless that is
// stopped. If the signal is to end the process, but the process executes another program before
// that thread acts on it, the kernel ends the thread, and the signal is lost. Without a tracer
// that window is a few instructions long. With one it lasts as long as a stop, and a thread whose
// exec is served is stopped. So a signal that ended only a thread is sent again.

// fatal is a signal that is to end a process, and that one of its threads got.
type fatal struct {
	group  int // the process
	signal unix.Signal
}

// deadly are the signals that others send and whose default action ends a process (signal(7)).
const deadly = 1<<(unix.SIGHUP-1) | 1<<(unix.SIGINT-1) | 1<<(unix.SIGQUIT-1) | 1<<(unix.SIGUSR1-1) | 1<<(unix.SIGUSR2-1) |
	1<<(unix.SIGALRM-1) | 1<<(unix.SIGTERM-1) | 1<<(unix.SIGVTALRM-1) | 1<<(unix.SIGIO-1) | 1<<(unix.SIGPWR-1)

// noteFatal records a signal that a tracee is about to get, if it is to end the tracee's process
// but may end only the tracee: it is not the leader, or another thread is in execve.
func (s *supervisor) noteFatal(t *task, signal unix.Signal, alone bool) {
	if deadly&(1<<(signal-1)) == 0 || !alone && sys.LeadsGroup(t.TID()) {
		return
	}
	status, err := s.sight.Status(strconv.Itoa(t.TID()))
	if err == nil && (status.Caught|status.Ignored)&(1<<(signal-1)) == 0 {
		t.fatal = fatal{status.Group, signal}
	}
}

// sendAgain serves a tracee that is gone: if its process lives on, that gets the signal that was
// to end it.
func (s *supervisor) sendAgain(t *task) {
	if t.fatal.signal != 0 && s.tasks[t.fatal.group] != nil {
		_ = sys.Kill(t.fatal.group, t.fatal.signal)
	}
}
