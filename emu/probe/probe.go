// Package probe finds out what the machine allows by doing it: each probe does, in a process of
// its own, what a route needs.
//
// A probe has three answers. Yes means that it worked. No means that the kernel refused; the
// answer has the errno, and what is known to change it. "could not tell" means that something kept
// the probe from asking.
package probe

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"binproxy/emu/entrypoint"
	"binproxy/emu/exit"
	"binproxy/emu/sys"
)

// An Answer is the answer of a probe.
type Answer string

// The three answers.
const (
	Yes     Answer = "yes"
	No      Answer = "no"
	Unknown Answer = "could not tell"
)

// Result is what a probe found. Reason gives the cause, and Change what would turn a No into a
// Yes; either may be empty.
type Result struct {
	Name   string `json:"name"`
	Answer Answer `json:"answer"`
	Reason string `json:"reason,omitempty"`
	Change string `json:"change,omitempty"`
}

func yes(format string, args ...any) Result {
	return Result{Answer: Yes, Reason: fmt.Sprintf(format, args...)}
}

func no(change, format string, args ...any) Result {
	return Result{Answer: No, Reason: fmt.Sprintf(format, args...), Change: change}
}

func unknown(err error) Result { return Result{Answer: Unknown, Reason: err.Error()} }

// refusedStatus is the exit status of a probe's process that was refused; the errno's text is on
// its stdout.
const refusedStatus = 3

// question is the message to a probe's process.
type question struct{ words []string }

func (q *question) Fields(w *entrypoint.Words) { w.Strings(&q.words) }

// entries are the probes' processes, by their first word.
var entries = [...]struct {
	name string
	run  func(args []string) error
}{
	{"none", func([]string) error { return nil }},
	{"wait", waitForEnd},
	{"filter", installFilter},
	{"listener", useListener},
	{"userns-binfmt", registerInside},
	{"supervise", superviseTiny},
}

// Entry is the entrypoint of a probe's process.
func Entry(words []string) error {
	var q question
	if err := entrypoint.Read(words, &q); err != nil {
		return err
	}
	for _, e := range entries {
		if len(q.words) > 0 && q.words[0] == e.name {
			err := e.run(q.words[1:])
			var own *exit.Error
			if err == nil || errors.As(err, &own) {
				return err
			}
			fmt.Print(err)
			return exit.Silent(refusedStatus)
		}
	}
	return exit.Errorf(exit.Failed, "no probe %q", q.words)
}

// patience bounds a probe's process.
const patience = 20 * time.Second

// process is a probe's process that has started.
type process struct {
	*exec.Cmd
	out bytes.Buffer
}

func command(attr *syscall.SysProcAttr, files []*os.File, args ...string) *process {
	p := &process{Cmd: entrypoint.Command(entrypoint.Probe, &question{args})}
	p.Stdout, p.Stderr = &p.out, &p.out
	p.ExtraFiles = files
	p.SysProcAttr = attr
	return p
}

// finish runs the process to its end and gives its exit status and its output.
func (p *process) finish() (status int, said string, err error) {
	if err := p.Start(); err != nil {
		return 0, "", err
	}
	timer := time.AfterFunc(patience, func() { _ = p.Process.Kill() })
	err = p.Wait()
	said = strings.TrimSpace(p.out.String())
	if !timer.Stop() {
		return 0, said, fmt.Errorf("it still ran after %v", patience)
	}
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		return 0, said, err
	}
	if status := p.ProcessState.Sys().(syscall.WaitStatus); status.Signaled() {
		return exit.Signal + int(status.Signal()), said, nil
	}
	return p.ProcessState.ExitCode(), said, nil
}

// ask runs an entry: yes if it ended well, no if it was refused.
func ask(p *process, change string) Result {
	status, said, err := p.finish()
	switch {
	case err != nil:
		return unknown(err)
	case status == 0:
		return yes("%s", said)
	case status == refusedStatus:
		return no(change, "%s", said)
	}
	return unknown(fmt.Errorf("the probe ended with status %d: %s", status, said))
}

// confined reports whether this process is under a seccomp filter, most often of a container's
// profile.
func confined() bool {
	mode, err := unix.PrctlRetInt(unix.PR_GET_SECCOMP, 0, 0, 0, 0)
	return err == nil && mode == unix.SECCOMP_MODE_FILTER
}

// ours is the change to make where a supervisor of ours is the obstacle.
const ours = "a supervisor of binproxy's traces this process already; ask outside of it"

// profile is the change to make where a filter may have refused.
func profile(otherwise string) string {
	if sys.Supervised() {
		return ours
	}
	if confined() {
		return "this process runs under a seccomp filter: allow the call in the container's profile (docker run --security-opt seccomp=FILE)"
	}
	return otherwise
}
