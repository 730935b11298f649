package sys

import (
	"errors"
	"os"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Deputy makes system calls for us where, or as whom, we cannot go ourselves. A process with
// threads cannot enter a user namespace, and a Go program has threads. So the deputy is a child
// with one thread that never runs Go code again: it reads each call from memory that it shares
// with us, makes it, and writes the result there. In the end it executes a program. We decide in
// Go what it does, by the answers that it got.
//
// The room for a call's arguments is the Deputy's own, so that pointers mean the same to both.
// Only one goroutine may use a Deputy at a time.
type Deputy struct {
	pid          int // 0 for one that is the calling thread itself
	order, reply int // our ends of its two pipes
	room         []byte
	used         int // bytes of room used by the call that is being prepared

	// Patience is how long a call may take, 0 for ever. A deputy that takes longer is killed, and
	// nobody waits for its end: the kernel may be waiting for somebody else.
	Patience time.Duration
	lost     bool // it took longer
}

// request is the call at the start of a deputy's room.
type request struct {
	nr   uintptr
	args [6]uintptr
	r    uintptr
	err  uintptr
}

// deputyRoom is more than an exec's arguments and environment can take (6 MiB, linux/fs/exec.c).
// Pages that nobody touches take no memory.
const deputyRoom = 8 << 20

// The runtime's own preparations for a fork: signals blocked, no preemption, no handlers in the
// child. Go keeps their linknames for gVisor, which uses them in the same way.
//
//go:linkname beforeFork syscall.runtime_BeforeFork
func beforeFork()

//go:linkname afterFork syscall.runtime_AfterFork
func afterFork()

//go:linkname afterForkInChild syscall.runtime_AfterForkInChild
func afterForkInChild()

// Send starts a deputy, with our standard files and all others that are not close-on-exec, and
// with the signals ignored that were ignored at our start. It is a child of ours to wait for, even
// after an error of its calls: Recall does that. (An os.Process would first start a process of its
// own, to find out what pidfds can do here.)
func Send() (*Deputy, error) {
	d, err := newDeputy()
	if err != nil {
		return nil, err
	}
	var order, reply [2]int
	if err := unix.Pipe2(order[:], unix.O_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("pipe2", err)
	}
	if err := unix.Pipe2(reply[:], unix.O_CLOEXEC); err != nil {
		closeFDs(order[:])
		return nil, os.NewSyscallError("pipe2", err)
	}
	d.order, d.reply = order[1], reply[0]
	c := deputyLoop{r: d.request(), order: uintptr(order[0]), reply: uintptr(reply[1]), ours: [2]uintptr{uintptr(order[1]), uintptr(reply[0])}, ignored: ignored}
	syscall.ForkLock.Lock()
	pid, errno := c.fork()
	syscall.ForkLock.Unlock()
	unix.Close(order[0])
	unix.Close(reply[1])
	if errno != 0 {
		closeFDs([]int{d.order, d.reply})
		return nil, os.NewSyscallError("fork", errno)
	}
	d.pid = int(pid)
	return d, nil
}

// Here gives a Deputy that is the calling thread. It locks the thread to the goroutine, for good:
// a thread that has become another user cannot serve others.
func Here() (*Deputy, error) {
	runtime.LockOSThread()
	return newDeputy()
}

func newDeputy() (*Deputy, error) {
	room, err := unix.Mmap(-1, 0, deputyRoom, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	d := &Deputy{room: room}
	d.free()
	return d, nil
}

func closeFDs(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

func (d *Deputy) request() *request { return (*request)(unsafe.Pointer(&d.room[0])) }

// free frees the room of the last call.
func (d *Deputy) free() { d.used = int(unsafe.Sizeof(request{})) }

// take gives n bytes of the room and their address, aligned for any structure of the kernel's.
func (d *Deputy) take(n int) ([]byte, uintptr, error) {
	const align = 16
	at := (d.used + align - 1) &^ (align - 1)
	if n > len(d.room)-at {
		return nil, 0, syscall.E2BIG
	}
	d.used = at + n
	return d.room[at:d.used:d.used], uintptr(unsafe.Pointer(&d.room[0])) + uintptr(at), nil
}

// structure gives room for a structure of the kernel's.
func structure[T any](d *Deputy) (*T, uintptr, error) {
	var t T
	_, at, err := d.take(int(unsafe.Sizeof(t)))
	if err != nil {
		return nil, 0, err
	}
	return (*T)(unsafe.Pointer(&d.room[at-uintptr(unsafe.Pointer(&d.room[0]))])), at, nil
}

// text writes a string into the room as the kernel reads one.
func (d *Deputy) text(s string) (uintptr, error) {
	for i := range len(s) {
		if s[i] == 0 {
			return 0, syscall.EINVAL
		}
	}
	b, at, err := d.take(len(s) + 1)
	if err == nil {
		copy(b, s)
		b[len(s)] = 0
	}
	return at, err
}

// vector writes strings into the room as execve reads them.
func (d *Deputy) vector(list []string) (uintptr, error) {
	const word = int(unsafe.Sizeof(uintptr(0)))
	b, at, err := d.take((len(list) + 1) * word)
	if err != nil {
		return 0, err
	}
	pointers := unsafe.Slice((*uintptr)(unsafe.Pointer(&b[0])), len(list)+1)
	for i, s := range list {
		if pointers[i], err = d.text(s); err != nil {
			return 0, err
		}
	}
	pointers[len(list)] = 0
	return at, nil
}

// ErrGone means that a signal ended the deputy before its call was made, or that it took too long.
var ErrGone = errors.New("the process that was to make the call has ended")

// call makes the deputy make a call, and frees the room. It is ErrGone after a successful exec,
// too.
func (d *Deputy) call(nr uintptr, args ...uintptr) (uintptr, error) {
	defer d.free()
	q := d.request()
	for {
		*q = request{nr: nr}
		copy(q.args[:], args)
		if d.pid == 0 {
			r, _, errno := unix.RawSyscall6(q.nr, q.args[0], q.args[1], q.args[2], q.args[3], q.args[4], q.args[5])
			q.r, q.err = r, uintptr(errno)
		} else if err := d.ask(); err != nil {
			return 0, err
		}
		switch errno := syscall.Errno(q.err); errno {
		case 0:
			return q.r, nil
		case syscall.EINTR:
		default:
			return 0, errno
		}
	}
}

// ask makes the deputy make the call that is in the room.
func (d *Deputy) ask() error {
	var bell [1]byte
	err := Retry(func() error { _, err := unix.Write(d.order, bell[:]); return err })
	if err == unix.EPIPE {
		return ErrGone
	}
	if err != nil {
		return os.NewSyscallError("write", err)
	}
	if !d.answers() {
		_ = Kill(d.pid, unix.SIGKILL)
		d.lost = true
		return ErrGone
	}
	n := 0
	err = Retry(func() (err error) { n, err = unix.Read(d.reply, bell[:]); return err })
	if err == nil && n == 0 {
		return ErrGone
	}
	return os.NewSyscallError("read", err)
}

// answers waits for the deputy's answer, or its end, as long as Patience has it.
func (d *Deputy) answers() bool {
	if d.Patience == 0 {
		return true
	}
	fds := []unix.PollFd{{Fd: int32(d.reply), Events: unix.POLLIN}}
	n := 0
	_ = Retry(func() (err error) { n, err = unix.Poll(fds, int(d.Patience.Milliseconds())); return err })
	return n > 0
}

// deputyLoop is everything that the child needs.
type deputyLoop struct {
	r            *request
	order, reply uintptr
	// the parent's ends, which the child must close in order to see the parent's end
	ours    [2]uintptr
	ignored uint64
}

// ignoredAction is the start of the kernel's struct: all except the handler stays zero.
type ignoredAction struct {
	handler uintptr
	_       [7]uintptr
}

// fork returns in the parent. The child never does: no code that allocates, locks or grows its
// stack may run there.
//
//go:noinline
//go:norace
//go:nocheckptr
func (c *deputyLoop) fork() (pid uintptr, errno syscall.Errno) {
	ignore := ignoredAction{handler: 1} // SIG_IGN
	bell := uintptr(0)
	flags, stack := uintptr(syscall.SIGCHLD), uintptr(0)
	if runtime.GOARCH == "s390x" {
		flags, stack = stack, flags // its clone(2) has these two in the other order
	}
	beforeFork()
	pid, _, errno = syscall.RawSyscall6(syscall.SYS_CLONE, flags, stack, 0, 0, 0, 0)
	if errno != 0 || pid != 0 {
		afterFork()
		return pid, errno
	}
	afterForkInChild()
	for n := uintptr(1); n <= 64; n++ {
		if c.ignored&(1<<(n-1)) != 0 {
			syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, n, uintptr(unsafe.Pointer(&ignore)), 0, 8, 0, 0)
		}
	}
	syscall.RawSyscall(syscall.SYS_CLOSE, c.ours[0], 0, 0)
	syscall.RawSyscall(syscall.SYS_CLOSE, c.ours[1], 0, 0)
	for {
		n, _, _ := syscall.RawSyscall(syscall.SYS_READ, c.order, uintptr(unsafe.Pointer(&bell)), 1)
		if n != 1 {
			break // the parent has ended
		}
		r, _, e := syscall.RawSyscall6(c.r.nr, c.r.args[0], c.r.args[1], c.r.args[2], c.r.args[3], c.r.args[4], c.r.args[5])
		c.r.r, c.r.err = r, uintptr(e)
		syscall.RawSyscall(syscall.SYS_WRITE, c.reply, uintptr(unsafe.Pointer(&bell)), 1)
	}
	for {
		syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 1, 0, 0)
	}
}
