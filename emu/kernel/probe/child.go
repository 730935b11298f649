package probe

import (
	"bufio"
	"context"
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
	"binproxy/emu/kernel"
	"binproxy/emu/sys"
)

// answer is what came back for a number.
type answer struct {
	answered bool
	errno    syscall.Errno
	limit    string // what it cannot do although it is there
	killed   string // how the child ended, where it did
	unasked  string // why it was not asked
}

// Further ABIs of an x86_64 kernel are asked for one call each, under keys that are no numbers of the table.
const (
	keyX32  = 0x40000000
	keyI386 = 0x80000000
)

var otherABIs = [...]struct {
	abi string
	nr  uint32
}{{"x32", keyX32}, {"i386", keyI386}}

// maxChildren bounds how often a child may be ended: a filter that kills for everything is not asked 400 times.
const maxChildren = 64

// patience is for a kernel that lets a call block which should not.
const patience = 5 * time.Second

// child is how to start the process that asks.
type child struct {
	path string
	argv []string
}

// ask collects the answers, by number. Where a call ended a child, another one goes on behind it.
func ask(command child, abi *kernel.ABI) (map[uint32]answer, error) {
	answers := map[uint32]answer{}
	questions := questions(abi)
	for _, c := range abi.Calls() {
		if why := reasonNotToAsk(c.Name); why != "" {
			answers[c.Nr] = answer{unasked: why}
		}
	}
	for next, children := 0, 0; next < len(questions); children++ {
		if children == maxChildren {
			for _, nr := range questions[next:] {
				answers[nr] = answer{unasked: "too many calls ended the process that asked"}
			}
			break
		}
		done, err := askFrom(command, next, questions, answers)
		if err != nil {
			return nil, err
		}
		next = done
	}
	return answers, nil
}

// questions lists the numbers to ask about; the calls that end the process come last, so that they cost one child each.
func questions(abi *kernel.ABI) []uint32 {
	list := []uint32{unknownNr}
	var last []uint32
	for _, c := range abi.Calls() {
		switch {
		case reasonNotToAsk(c.Name) != "":
		case slices.Contains(enders, c.Name):
			last = append(last, c.Nr)
		default:
			list = append(list, c.Nr)
		}
	}
	if runtime.GOARCH == "amd64" {
		last = append(last, keyX32, keyI386)
	}
	return append(list, last...)
}

// askFrom runs a child for questions[next:] and returns the index of the first question that it left.
func askFrom(command child, next int, questions []uint32, answers map[uint32]answer) (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, command.path)
	cmd.Args = append(command.argv[:len(command.argv):len(command.argv)], strconv.Itoa(next))
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
	done := next
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if a, ok := parseAnswer(lines.Text()); ok && done < len(questions) {
			answers[questions[done]] = a
			done++
		}
	}
	err = cmd.Wait()
	if done == len(questions) {
		return done, nil
	}
	if done == next && (err == nil || next == 0 && !signaled(err)) {
		return 0, fmt.Errorf("probe: the child that asks said nothing of number %d: %s", questions[done], howItEnded(err))
	}
	answers[questions[done]] = answer{answered: true, killed: howItEnded(err)}
	if questions[done] >= keyX32 {
		answers[questions[done]] = answer{}
	}
	return done + 1, nil
}

// signaled tells an end by a signal, as a filter that kills gives it, from one of the child's own.
func signaled(err error) bool {
	var exited *exec.ExitError
	return errors.As(err, &exited) && exited.Sys().(syscall.WaitStatus).Signaled()
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

// Child asks the questions from an index on and writes a line for each answer. It is the private mode of the child process.
func Child(w io.Writer, from string) error {
	abi := kernel.Of(arch.Host())
	next, err := strconv.Atoi(from)
	if abi == nil || err != nil || next < 0 {
		return fmt.Errorf("probe: no question %q", from)
	}
	runtime.LockOSThread()
	unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0)
	names := map[uint32]string{}
	for _, c := range abi.Calls() {
		names[c.Nr] = c.Name
	}
	list := questions(abi)
	for _, nr := range list[min(next, len(list)):] {
		errno, limited := put(nr, names[nr])
		fmt.Fprintf(w, "%d %s\n", int(errno), limited)
	}
	return nil
}

func put(nr uint32, name string) (syscall.Errno, string) {
	switch nr {
	case keyX32:
		_, errno := sys.Call(keyX32|unix.SYS_GETPID, [6]uintptr{})
		return errno, ""
	case keyI386:
		_, errno := sys.CallI386(20) // getpid
		return errno, ""
	}
	errno := call(name, nr)
	if errno != syscall.ENOSYS && errno != syscall.EPERM {
		return errno, limit(name)
	}
	return errno, ""
}

func errnoName(e syscall.Errno) string {
	if e == 0 {
		return "success"
	}
	return unix.ErrnoName(e)
}
