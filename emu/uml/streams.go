package uml

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"binproxy/emu/exit"
	"binproxy/emu/sys"
)

// The kernel's consoles are raw byte streams to or from pipes of the host side. The command never
// sees them: it has pipes of the guest, or a pseudo-terminal. A console reads the host's input
// byte by byte, with a system call for each. So standard input comes as files of the jail, and the
// control stream says when there is a new one.
const (
	ttyControl = "/dev/tty1"
	ttyStdout  = "/dev/tty2"
	ttyStderr  = "/dev/tty3"
)

// The control stream has one message a line. To the guest: "signal N", "size ROWS COLS", "input N"
// (the file N of inputDir is the next of standard input), "eof", "closed FD" (nobody reads the
// caller's FD any more). From the guest: "ready", "took N", "exit CODE", "died SIGNAL", "error
// CODE "TEXT"".
type control struct {
	tty *os.File
}

func openControl() (*control, error) {
	tty, err := openRaw(ttyControl, os.O_RDWR)
	return &control{tty}, err
}

// end is the last message.
func (c *control) end(err error) {
	if signal := exit.SignalOf(err); signal != 0 {
		fmt.Fprintf(c.tty, "died %d\n", signal)
	} else if message := exit.Message(err); message == "" {
		fmt.Fprintf(c.tty, "exit %d\n", exit.Code(err))
	} else {
		fmt.Fprintf(c.tty, "error %d %q\n", exit.Code(err), message)
	}
	drain(c.tty)
}

// openRaw opens a console without line editing. The file blocks: each has a goroutine that reads
// or writes it.
func openRaw(path string, flags int) (*os.File, error) {
	fd, err := sys.Open(path, flags|unix.O_NOCTTY)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	if err := makeRaw(fd); err != nil {
		return nil, fmt.Errorf("make %s raw: %w", path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

// makeRaw does what cfmakeraw(3) and tcsetattr(3) do.
func makeRaw(fd int) error {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return err
	}
	t.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	t.Oflag &^= unix.OPOST
	t.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	t.Cflag = t.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	return unix.IoctlSetTermios(fd, unix.TCSETS, t)
}

// drain waits until a console has passed on what was written to it.
func drain(tty *os.File) { unix.IoctlSetInt(int(tty.Fd()), unix.TCSBRK, 1) }

// streams carries the command's standard input, output and error between its files and the
// consoles.
type streams struct {
	consoles [3]*os.File // the kernel's, of 1 and 2
	ours     [3]*os.File // our ends of the command's files
	theirs   []*os.File  // the command's ends
	master   *os.File    // of the pseudo-terminal; nil if the caller has no terminal
	output   sync.WaitGroup
	closed   [3]atomic.Bool
	inputDir int      // inputDir, open
	input    chan int // the numbers of its files that have come
}

// inputDir is the directory of standard input, in the guest's first root.
const inputDir = "/stdin"

// inputWindow is how many files of standard input, each of at most a chunk, may exist at a time.
const inputWindow = 8

// openHost opens the streams to the host before the first root is left.
func (s *streams) openHost() (err error) {
	if s.inputDir, err = sys.Open(inputDir, unix.O_PATH|unix.O_DIRECTORY); err != nil {
		return fmt.Errorf("open %s: %w", inputDir, err)
	}
	if s.consoles[1], err = openRaw(ttyStdout, os.O_WRONLY); err != nil {
		return err
	}
	s.consoles[2], err = openRaw(ttyStderr, os.O_WRONLY)
	return err
}

// open makes the command's files. A file that is the caller's terminal becomes a pseudo-terminal
// of the guest, the others become pipes.
func (s *streams) open(j *job) ([]uintptr, *syscall.SysProcAttr, error) {
	s.input = make(chan int, inputWindow)
	attr := &syscall.SysProcAttr{Setsid: true}
	var slave *os.File
	if j.TTY != 0 {
		var err error
		if slave, err = s.openPTY(j); err != nil {
			return nil, nil, err
		}
		for fd := 2; fd >= 0; fd-- {
			if j.TTY&(1<<fd) != 0 {
				attr.Setctty, attr.Ctty = true, fd
			}
		}
	}
	for fd := range 3 {
		if j.TTY&(1<<fd) != 0 {
			s.theirs = append(s.theirs, slave)
			continue
		}
		r, w, err := blockingPipe()
		if err != nil {
			return nil, nil, err
		}
		if fd == 0 {
			s.ours[fd], s.theirs = w, append(s.theirs, r)
		} else {
			s.ours[fd], s.theirs = r, append(s.theirs, w)
		}
	}
	var fds []uintptr
	for _, f := range s.theirs {
		fds = append(fds, f.Fd())
	}
	return fds, attr, nil
}

// openPTY makes the pseudo-terminal. If the caller's terminal is not the input, it still
// translates line ends and echoes, so the guest's must not do that again.
func (s *streams) openPTY(j *job) (*os.File, error) {
	fd, err := sys.Open("/dev/pts/ptmx", unix.O_RDWR|unix.O_NOCTTY)
	if err != nil {
		return nil, fmt.Errorf("open a pseudo-terminal: %w", err)
	}
	s.master = os.NewFile(uintptr(fd), "ptmx")
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return nil, fmt.Errorf("unlock the pseudo-terminal: %w", err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		return nil, fmt.Errorf("number of the pseudo-terminal: %w", err)
	}
	slave, err := sys.Open("/dev/pts/"+strconv.Itoa(n), unix.O_RDWR|unix.O_NOCTTY)
	if err != nil {
		return nil, fmt.Errorf("open the pseudo-terminal: %w", err)
	}
	s.resize(j.Rows, j.Cols)
	if j.TTY&1 == 0 {
		if err := makeRaw(slave); err != nil {
			return nil, err
		}
	}
	return os.NewFile(uintptr(slave), "pts"), nil
}

func (s *streams) resize(rows, cols int) {
	if s.master != nil && rows > 0 && cols > 0 {
		unix.IoctlSetWinsize(int(s.master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(rows), Col: uint16(cols)})
	}
}

// blockingPipe is a pipe that Go does not poll: polling takes two more system calls for each read,
// and system calls are slow here.
func blockingPipe() (r, w *os.File, err error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, fmt.Errorf("pipe: %w", err)
	}
	return os.NewFile(uintptr(p[0]), "pipe"), os.NewFile(uintptr(p[1]), "pipe"), nil
}

// start starts the copying, after the command with this pid was started.
func (s *streams) start(c *control, pid int) {
	for _, f := range s.theirs {
		f.Close()
	}
	go s.listen(c, pid)
	go s.pumpInput(c)
	for fd := 1; fd <= 2; fd++ {
		from := s.ours[fd]
		if from == nil && s.master != nil && !(fd == 2 && s.ours[1] == nil) {
			// stdout's console carries the terminal; stderr's does so only if stdout is no
			// terminal.
			from = s.master
		}
		if from != nil {
			s.output.Go(func() { s.pumpOutput(fd, from) })
		}
	}
	if s.master != nil && s.ours[1] != nil && s.ours[2] != nil {
		// Only the input is a terminal: nobody sees its echo.
		go io.Copy(io.Discard, s.master)
	}
	fmt.Fprintln(c.tty, "ready")
}

// finish waits until all output is written. Every process that could write has ended.
func (s *streams) finish() {
	s.output.Wait()
	drain(s.consoles[1])
	drain(s.consoles[2])
}

const chunk = 64 << 10

func (s *streams) pumpOutput(fd int, from *os.File) {
	buf := make([]byte, chunk)
	for {
		n, err := from.Read(buf)
		if err != nil || s.closed[fd].Load() {
			from.Close() // writers that are left get SIGPIPE
			return
		}
		s.consoles[fd].Write(buf[:n])
	}
}

// pumpInput passes the files on as standard input. If the command has closed its input, the rest
// is lost, as in a pipe.
func (s *streams) pumpInput(c *control) {
	to := s.ours[0]
	if to == nil {
		to = s.master
	}
	buf := make([]byte, chunk)
	for n := range s.input {
		name := strconv.Itoa(n)
		if fd, err := sys.Openat(s.inputDir, name, unix.O_RDONLY); err == nil {
			f := os.NewFile(uintptr(fd), name)
			size, _ := io.ReadFull(f, buf)
			f.Close()
			to.Write(buf[:size])
		}
		unix.Unlinkat(s.inputDir, name, 0)
		fmt.Fprintln(c.tty, "took", n)
	}
	if s.ours[0] != nil {
		s.ours[0].Close()
	}
}

// listen does what the host side's messages say.
func (s *streams) listen(c *control, pid int) {
	for lines := bufio.NewScanner(c.tty); lines.Scan(); {
		words := append(strings.Fields(lines.Text()), "", "", "")
		word, v := words[0], [2]int{}
		v[0], _ = strconv.Atoi(words[1])
		v[1], _ = strconv.Atoi(words[2])
		switch {
		case word == "signal":
			unix.Kill(pid, unix.Signal(v[0]))
		case word == "size":
			s.resize(v[0], v[1])
		case word == "closed" && (v[0] == 1 || v[0] == 2):
			s.closed[v[0]].Store(true)
		case word == "input":
			s.input <- v[0]
		case word == "eof":
			close(s.input)
			if s.ours[0] == nil {
				unix.Kill(pid, unix.SIGHUP) // the terminal is gone
			}
		}
	}
}
