package uml

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"binproxy/emu/exit"
	"binproxy/emu/sys"
)

// wordsAhead is how many lines may wait for a guest that does not read.
const wordsAhead = 64

// message is a line from the guest.
type message struct {
	kind string
	code int
	text string
}

// died is the error for a command that died of a signal. The number is the guest's word: we do not
// stop for one that ends nobody.
func (m message) died() error {
	switch signal := syscall.Signal(m.code); signal {
	case syscall.SIGSTOP, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU:
		return exit.Silent(exit.Signal + m.code)
	default:
		return exit.Died(signal)
	}
}

// listen passes on the guest's messages until they end.
func listen(answers io.Reader, messages chan<- message) {
	defer close(messages)
	for lines := bufio.NewScanner(answers); lines.Scan(); {
		words := strings.SplitN(lines.Text(), " ", 3)
		m := message{kind: words[0]}
		if len(words) > 1 {
			m.code, _ = strconv.Atoi(words[1])
		}
		if len(words) > 2 {
			m.text, _ = strconv.Unquote(words[2])
		}
		messages <- m
	}
}

// talk sends the guest its words as fast as it reads them.
func (h *host) talk() {
	for words := range h.words {
		if _, err := io.WriteString(h.control, words); err != nil {
			return
		}
	}
}

// say sends the guest a word, after the earlier ones.
func (h *host) say(format string, args ...any) {
	select {
	case h.words <- fmt.Sprintf(format, args...):
	case <-h.ended:
	}
}

// forward reports a signal to the guest. A guest that does not read gets no more than wordsAhead
// lines: waiting for it could block the run.
func (h *host) forward(s syscall.Signal) {
	words := fmt.Sprintf("signal %d\n", int(s))
	switch s {
	case syscall.SIGPIPE:
		return
	case syscall.SIGWINCH:
		rows, cols := window()
		if rows == 0 {
			return
		}
		words = fmt.Sprintf("size %d %d\n", rows, cols)
	}
	select {
	case h.words <- words:
	default:
	}
}

// pump copies one output of the command to the caller's, and tells the guest when nobody reads
// that any more.
func (h *host) pump(fd int, to io.Writer, from *os.File) {
	if _, err := io.Copy(to, from); err != nil {
		h.say("closed %d\n", fd)
		io.Copy(io.Discard, from)
	}
}

// feed copies the caller's standard input to the guest, as one file of the jail for each piece,
// once the guest is ready.
func (h *host) feed() {
	defer h.say("eof\n")
	dir, err := h.openInput()
	buf := make([]byte, chunk)
	for n := 0; err == nil; n++ {
		var size int
		size, err = os.Stdin.Read(buf)
		if size > 0 {
			h.window <- struct{}{}
			if failed := writeInput(dir, n, buf[:size]); failed != nil {
				err = failed
				break
			}
			h.say("input %d\n", n)
		}
	}
	if err == io.EOF {
		return
	}
	select {
	case <-h.ended: // which is why
	case <-time.After(powerOffLimit):
		fmt.Fprintf(os.Stderr, "binproxy: uml: standard input: %v\n", err)
	}
}

// running reports whether the jail has not ended yet: then its pid is still its own.
func (h *host) running() bool {
	select {
	case <-h.ended:
		return false
	default:
		return true
	}
}

// openInput opens the directory for standard input, which the jail opened before the guest
// started. The guest's root may have replaced its path since.
func (h *host) openInput() (int, error) {
	dir, err := sys.Open(fmt.Sprintf("/proc/%d/fd/%d", h.jail.Process.Pid, fdInput), unix.O_PATH|unix.O_DIRECTORY)
	if err == nil && !h.running() {
		err = fs.ErrClosed
	}
	return dir, err
}

// writeInput makes a file of standard input. It does not open what the guest may have put there.
func writeInput(dir, n int, piece []byte) error {
	var fd int
	err := sys.Retry(func() (err error) {
		fd, err = unix.Openat(dir, strconv.Itoa(n), unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
		return err
	})
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), "standard input")
	_, err = f.Write(piece)
	return errors.Join(err, f.Close())
}
