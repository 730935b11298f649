package answers

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"binproxy/emu/arch"
	"binproxy/emu/entrypoint"
	"binproxy/emu/exit"
	"binproxy/emu/kernel"
)

// answer is the kernel's answer to a number.
type answer struct {
	answered bool
	errno    syscall.Errno
	limit    string // what the call cannot do, if it is incomplete
	killed   string // how the call ended the child, if it did
	unasked  string // why it was not asked
}

// question is a number of an ABI to ask about; name is "" for one that no kernel has.
type question struct {
	nr   uint32
	name string
}

// maxChildren bounds how often a child may end: a filter that kills for every call is not asked
// 400 times.
const maxChildren = 64

// patience is for a call that blocks although it should not.
const patience = 5 * time.Second

// errand is the message to the asking process: an ABI, and the index of the first question.
type errand struct {
	abi  string
	next int
}

func (e *errand) Fields(w *entrypoint.Words) {
	w.String(&e.abi)
	entrypoint.Number(w, &e.next)
}

// ask collects the answers of an ABI, by number. When a call ends a child, another child continues
// after that call.
func ask(abi *kernel.ABI) (map[uint32]answer, error) {
	answers := map[uint32]answer{}
	questions := questions(abi)
	for _, c := range abi.Calls() {
		if why := reasonNotToAsk(c.Name); why != "" {
			answers[c.Nr] = answer{unasked: why}
		}
	}
	for next, children := 0, 0; next < len(questions); children++ {
		if children == maxChildren {
			for _, q := range questions[next:] {
				answers[q.nr] = answer{unasked: "too many calls ended the process that asked"}
			}
			break
		}
		done, err := askFrom(entrypoint.Command(entrypoint.Answer, &errand{abi.Name, next}), next, questions, answers)
		if err != nil {
			return nil, err
		}
		next = done
		if answers[questions[0].nr].killed != "" {
			break // not even getpid: the kernel does not serve this ABI
		}
	}
	return answers, nil
}

// questions lists the questions: getpid first; the calls that end the process last, so that they
// cost one child each.
func questions(abi *kernel.ABI) []question {
	list := []question{{getpid(abi), "getpid"}, {unknownNr, ""}}
	var last []question
	for _, c := range abi.Calls() {
		q := question{c.Nr, c.Name}
		switch {
		case c.Name == "getpid", reasonNotToAsk(c.Name) != "":
		case slices.Contains(enders, c.Name):
			last = append(last, q)
		default:
			list = append(list, q)
		}
	}
	return append(list, last...)
}

func getpid(abi *kernel.ABI) uint32 { return abi.ByName("getpid")[0].Nr }

// greeting is the first line of a child.
const greeting = "here"

// askFrom runs a child for questions[next:] and returns the index of the first question that it
// did not get to.
func askFrom(cmd *exec.Cmd, next int, questions []question, answers map[uint32]answer) (int, error) {
	cmd.Env = append(os.Environ(), "GODEBUG=asyncpreemptoff=1", "GOTRACEBACK=none")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return 0, fmt.Errorf("probe: start the child that asks: %w", err)
	}
	defer time.AfterFunc(patience, func() { _ = cmd.Process.Kill() }).Stop()
	done, greeted := next, false
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if !greeted {
			greeted = lines.Text() == greeting
			continue
		}
		if a, ok := parseAnswer(lines.Text()); ok && done < len(questions) {
			answers[questions[done].nr] = a
			done++
		}
	}
	err = cmd.Wait()
	if done == len(questions) {
		return done, nil
	}
	if !greeted || done == next && err == nil {
		return 0, fmt.Errorf("probe: the child that asks said nothing of number %d: %s", questions[done].nr, howItEnded(err))
	}
	answers[questions[done].nr] = answer{answered: true, killed: howItEnded(err)}
	return done + 1, nil
}

func howItEnded(err error) string {
	var exited *exec.ExitError
	if errors.As(err, &exited) {
		if status := exited.Sys().(syscall.WaitStatus); status.Signaled() {
			return status.Signal().String()
		}
		return exited.String()
	}
	return "it ended"
}

// parseAnswer reads a line of the child: an errno, and what the call cannot do.
func parseAnswer(line string) (answer, bool) {
	number, limit, _ := strings.Cut(line, " ")
	errno, err := strconv.ParseUint(number, 10, 16)
	return answer{answered: true, errno: syscall.Errno(errno), limit: limit}, err == nil
}

// Child asks an ABI's questions from an index on and writes a line for each answer. It is the
// entrypoint of the child process.
func Child(words []string) error {
	var e errand
	if err := entrypoint.Read(words, &e); err != nil {
		return err
	}
	return e.run(os.Stdout)
}

func (e errand) run(w io.Writer) error {
	i := slices.IndexFunc(kernel.Family(arch.Host()), func(a *kernel.ABI) bool { return a.Name == e.abi })
	if i < 0 || e.next < 0 {
		return exit.Errorf(exit.Failed, "probe: no question %d of %q", e.next, e.abi)
	}
	abi := kernel.Family(arch.Host())[i]
	runtime.LockOSThread()
	unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0)
	fmt.Fprintln(w, greeting)
	list := questions(abi)
	for _, q := range list[min(e.next, len(list)):] {
		errno, limited := put(abi, q)
		fmt.Fprintf(w, "%d %s\n", int(errno), limited)
	}
	return nil
}

func put(abi *kernel.ABI, q question) (syscall.Errno, string) {
	errno := call(abi, q.name, q.nr)
	if errno != syscall.ENOSYS && errno != syscall.EPERM {
		return errno, limit(q.name)
	}
	return errno, ""
}

func errnoName(e syscall.Errno) string {
	if e == 0 {
		return "success"
	}
	return unix.ErrnoName(e)
}
