package supervise

import (
	"strconv"

	"golang.org/x/sys/unix"

	"binproxy/emu/sys"
)

// A signal for a process is given to one of its threads, the first one unless that is stopped. If
// it is to end the process, and the process executes another program before that thread has acted
// upon it, the kernel ends the thread, and nobody has the signal any more. For a process that is
// not traced that takes a few instructions; for ours it takes as long as a stop, and while an exec
// is served its thread is stopped. So a signal that ended a thread only is sent once more.

// fatal is a signal that is to end a process, and was given to one of its threads.
type fatal struct {
	group  int // the process
	signal unix.Signal
}

// deadly are the signals whose default action ends a process, and which others send (signal(7)).
const deadly = 1<<(unix.SIGHUP-1) | 1<<(unix.SIGINT-1) | 1<<(unix.SIGQUIT-1) | 1<<(unix.SIGUSR1-1) | 1<<(unix.SIGUSR2-1) |
	1<<(unix.SIGALRM-1) | 1<<(unix.SIGTERM-1) | 1<<(unix.SIGVTALRM-1) | 1<<(unix.SIGIO-1) | 1<<(unix.SIGPWR-1)

// noteFatal notes a signal that a tracee is about to be given, if it is to end the tracee's
// process and the tracee may die alone: it is not the leader, or another thread is in execve.
func (s *supervisor) noteFatal(t *task, signal unix.Signal, alone bool) {
	if deadly&(1<<(signal-1)) == 0 || !alone && sys.LeadsGroup(t.TID()) {
		return
	}
	status, err := s.sight.Status(strconv.Itoa(t.TID()))
	if err == nil && (status.Caught|status.Ignored)&(1<<(signal-1)) == 0 {
		t.fatal = fatal{status.Group, signal}
	}
}

// sendAgain is for a tracee that is gone: its process, if that lives on, gets the signal that was
// to end it.
func (s *supervisor) sendAgain(t *task) {
	if t.fatal.signal != 0 && s.tasks[t.fatal.group] != nil {
		_ = unix.Kill(t.fatal.group, t.fatal.signal)
	}
}
