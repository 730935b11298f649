package uml

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"binproxy/emu/entrypoint"
	"binproxy/emu/exit"
	"binproxy/emu/userns"
)

// bootLimit is how long a kernel may take until its PID 1 runs. A boot takes a second at most, on
// a busy machine a few.
const bootLimit = 90 * time.Second

// powerOffLimit is how long a kernel may take to end.
const powerOffLimit = 10 * time.Second

// logLines is how many lines of its log the error of a failed kernel shows.
const logLines = 15

// host is the host side of a run.
type host struct {
	options Options
	job     *job
	kernel  *Kernel

	jail    *exec.Cmd
	ended   chan struct{} // closed when the jail has ended
	log     *logTail
	ours    []*os.File    // our ends of the pipes that live as long as the run
	control *os.File      // to the guest
	words   chan string   // messages to it
	window  chan struct{} // an element for each file of standard input that may be written
	output  sync.WaitGroup
	net     *slirp4netns
	restore func() // the terminal
}

func (h *host) run() error {
	signals := make(chan os.Signal, 32)
	signal.Notify(signals, forwarded...)
	defer signal.Stop(signals)
	h.restore = func() {}
	defer func() { h.restore() }()
	messages, err := h.start()
	defer h.stop()
	if err != nil {
		return exit.With(exit.Failed, fmt.Errorf("uml: %w", err))
	}
	return h.follow(messages, signals)
}

// forwarded are the signals that the command gets. SIGPIPE is among them so that a write to a pipe
// that nobody reads is an error.
var forwarded = []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2,
	syscall.SIGALRM, syscall.SIGCONT, syscall.SIGWINCH, syscall.SIGPIPE}

// start makes the pipes, starts the jail, and gives it the job.
func (h *host) start() (<-chan message, error) {
	var theirs []*os.File
	defer func() {
		for _, f := range theirs {
			f.Close()
		}
	}()
	pipe := func(input bool) *os.File {
		r, w, err := os.Pipe()
		if err != nil {
			// The process has no descriptors left: the jail's start fails and says so.
			return nil
		}
		if !input {
			r, w = w, r
		}
		theirs, h.ours = append(theirs, r), append(h.ours, w)
		return w
	}
	_, log := pipe(true), pipe(false) // the first is the lifeline
	h.control, h.words = pipe(true), make(chan string, wordsAhead)
	answers := pipe(false)
	stdout, stderr := pipe(false), pipe(false)
	if h.options.Net == Vector {
		socket, err := h.startNet()
		if err != nil {
			return nil, err
		}
		theirs = append(theirs, socket)
	}
	h.setKernelArgs()
	h.setWindow()
	if err := h.startJail(theirs); err != nil {
		return nil, err
	}
	h.log = &logTail{done: make(chan struct{})}
	go h.log.follow(log)
	go h.talk()
	h.output.Go(func() { h.pump(1, os.Stdout, stdout) })
	h.output.Go(func() { h.pump(2, os.Stderr, stderr) })
	messages := make(chan message)
	go listen(answers, messages)
	return messages, nil
}

// setKernelArgs sets the kernel's command line. In a small memory the Go runtime starts only with
// overcommit. RAID's search for its fastest method, which takes most of the boot of a
// distribution's kernel, is left out. The word behind init= comes first of the words that PID 1
// gets: these are the ones behind init= that the kernel does not know, and so they include unknown
// words of the caller's.
func (h *host) setKernelArgs() {
	j := h.job
	fd := func(n int) string { return "fd:" + strconv.Itoa(n) }
	j.KernelArgs = []string{
		"mem=" + strconv.Itoa(j.Mem) + "M", "uml_dir=" + jailTemp + "/",
		"sysctl.vm.overcommit_memory=1", "rootfstype=hostfs", "rootflags=" + jailBoot, "rw", "init=/uml", string(entrypoint.Guest),
		"initcall_blacklist=raid6_select_algo,calibrate_xor_blocks",
		"con=null", "con0=null," + fd(1), "con1=" + fd(fdControlIn) + "," + fd(fdControlOut),
		"con2=null," + fd(fdStdout), "con3=null," + fd(fdStderr), "ssl=null",
	}
	switch h.options.Net {
	case Vector:
		j.KernelArgs = append(j.KernelArgs, "vec0:transport=fd,fd="+strconv.Itoa(fdNet)+",depth=128")
	case Slirp:
		j.KernelArgs = append(j.KernelArgs, "eth0=slirp,,"+slirpPath)
	}
	if h.options.Seccomp {
		j.KernelArgs = append(j.KernelArgs, "seccomp=on")
	}
	j.KernelArgs = append(j.KernelArgs, h.options.Append...)
}

// startJail starts the jail in its namespaces. As root it uses its own privileges; otherwise, or
// if they do not suffice, it uses a user namespace.
func (h *host) startJail(theirs []*os.File) error {
	start := func(user bool) error {
		h.jail = entrypoint.Command(entrypoint.Jail, h.job)
		h.jail.Stdin, h.jail.Stdout, h.jail.Stderr, h.jail.ExtraFiles = theirs[0], theirs[1], theirs[1], theirs[2:]
		h.jail.SysProcAttr = namespaces(user)
		h.jail.SysProcAttr.Setsid = true
		h.jail.SysProcAttr.Cloneflags |= unix.CLONE_NEWPID | unix.CLONE_NEWIPC
		// The kernel starts slirp, which must reach the host's network.
		if h.options.Net != Slirp {
			h.jail.SysProcAttr.Cloneflags |= unix.CLONE_NEWNET
		}
		return h.jail.Start()
	}
	err := start(os.Geteuid() != 0)
	if errors.Is(err, unix.EPERM) && os.Geteuid() == 0 {
		err = start(true)
	}
	if err != nil {
		return fmt.Errorf("make the namespaces that a guest's kernel is bounded by: %w; %s", err, whyNoNamespaces())
	}
	h.ended = make(chan struct{})
	go func() { h.jail.Wait(); close(h.ended) }()
	return nil
}

// namespaces makes a mount namespace, and a user namespace with the caller as its root.
func namespaces(user bool) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
	if user {
		attr = userns.Alone().Clone()
	}
	attr.Pdeathsig = syscall.SIGKILL
	return attr
}

// whyNoNamespaces names the setting of the host that forbids them.
func whyNoNamespaces() string {
	for _, s := range []struct{ name, bad string }{
		{"user/max_user_namespaces", "0"}, {"kernel/unprivileged_userns_clone", "0"}, {"kernel/apparmor_restrict_unprivileged_userns", "1"},
	} {
		text, err := os.ReadFile("/proc/sys/" + s.name)
		if err == nil && strings.TrimSpace(string(text)) == s.bad {
			return fmt.Sprintf("/proc/sys/%s is %s on this host", s.name, s.bad)
		}
	}
	return "a container's seccomp profile may forbid them (docker run --security-opt seccomp=unconfined)"
}

// follow controls the run: it passes signals in, and the status out. It goes on whatever the guest
// says or leaves unread, because the timeout and the signals depend on it.
func (h *host) follow(messages <-chan message, signals <-chan os.Signal) error {
	boot := time.NewTimer(bootLimit)
	defer boot.Stop()
	var limit <-chan time.Time
	if h.options.Timeout > 0 {
		limit = time.After(h.options.Timeout)
	}
	for {
		select {
		case m, ok := <-messages:
			if !ok {
				return h.died()
			}
			switch m.kind {
			case "ready":
				if h.window == nil {
					boot.Stop()
					h.makeRaw()
					h.window = make(chan struct{}, inputWindow)
					go h.feed()
				}
			case "took":
				select {
				case <-h.window:
				default: // no file was written to it
				}
			case "exit":
				return h.settle(exit.Silent(m.code), signals, limit)
			case "died":
				return h.settle(m.died(), signals, limit)
			case "error":
				return h.settle(exit.Errorf(m.code, "uml: %s", m.text), signals, limit)
			}
		case s := <-signals:
			if ends(s) && h.window == nil { // no command is there yet to get the signal
				h.kill()
				return exit.Died(s.(syscall.Signal))
			}
			h.forward(s.(syscall.Signal))
		case <-boot.C:
			return h.hung("did not boot", bootLimit)
		case <-limit:
			return h.hung("was still running", h.options.Timeout)
		}
	}
}

// ends reports whether the purpose of a signal is to end a program.
func ends(s os.Signal) bool {
	return s == syscall.SIGHUP || s == syscall.SIGINT || s == syscall.SIGQUIT || s == syscall.SIGTERM
}

// settle waits for the rest of the output, which is complete when the kernel has ended. The guest
// has sent all of it, and powers off.
func (h *host) settle(err error, signals <-chan os.Signal, limit <-chan time.Time) error {
	written := make(chan struct{})
	go func() { h.output.Wait(); close(written) }()
	late := time.After(powerOffLimit)
	for {
		select {
		case <-written:
			return err
		case <-late:
			h.kill()
		case s := <-signals:
			if ends(s) {
				return exit.Died(s.(syscall.Signal))
			}
		case <-limit:
			return exit.Errorf(exit.Failed, "uml: the command has ended, but the rest of its output was not read within %v", h.options.Timeout)
		}
	}
}

// died handles the end of a kernel whose PID 1 did not report the command's end.
func (h *host) died() error {
	h.awaitEnd()
	h.restore()
	return exit.Errorf(exit.Failed, "uml: the kernel %s (%s) ended with status %d and without the command's; the end of its log:\n%s",
		h.kernel.Path, h.kernel.Release, h.jail.ProcessState.ExitCode(), h.log.last(logLines))
}

// awaitEnd waits for the end of a kernel that has closed its control stream.
func (h *host) awaitEnd() {
	select {
	case <-h.ended:
	case <-time.After(powerOffLimit): // it has only stopped talking
		h.kill()
	}
}

// hung ends a kernel that takes too long.
func (h *host) hung(what string, after time.Duration) error {
	h.kill()
	h.restore()
	return exit.Errorf(exit.Failed, "uml: the kernel %s (%s) %s after %v and was ended; the end of its log:\n%s",
		h.kernel.Path, h.kernel.Release, what, after, h.log.last(logLines))
}

// kill ends every process of the namespaces, and waits until all have ended.
func (h *host) kill() {
	h.jail.Process.Kill()
	<-h.ended
}

// stop ends the run and leaves nothing behind.
func (h *host) stop() {
	if h.ended != nil {
		h.kill()
	}
	if h.net != nil {
		h.net.stop()
	}
	for _, f := range h.ours {
		f.Close()
	}
}

// setWindow records the size of the caller's terminal.
func (h *host) setWindow() { h.job.Rows, h.job.Cols = window() }

// window is the size of the first standard file descriptor that is a terminal.
func window() (rows, cols int) {
	for fd := range 3 {
		if ws, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ); err == nil {
			return int(ws.Row), int(ws.Col)
		}
	}
	return 0, 0
}

// makeRaw lets the guest's terminal, which does the editing, get every key of the caller's
// terminal; restore undoes that.
func (h *host) makeRaw() {
	if h.job.TTY&1 == 0 {
		return
	}
	before, err := unix.IoctlGetTermios(0, unix.TCGETS)
	if err != nil || makeRaw(0) != nil {
		return
	}
	h.restore = func() { unix.IoctlSetTermios(0, unix.TCSETSW, before) }
}
