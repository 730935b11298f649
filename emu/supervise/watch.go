package supervise

import (
	"bytes"
	"io"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"binproxy/emu/sys"
)

// The tracer's thread serves one tracee after the other. What it does for one may wait for ever:
// for a page of its memory or a file of its root which nobody delivers (userfaultfd, FUSE), or for
// a thread that does not make the call that it is made to make. The process that should deliver
// may be a tracee that itself waits for the tracer. A thread cannot give up such a wait, but
// ending the processes it waits for ends the wait. A second thread does that.

// How many looks at the tracer, one a second, pass before processes are ended.
const (
	patience     = 30  // a thread that does not do what it is made to, or processes that deliver
	lastPatience = 120 // all tracees
)

// watch is what the two threads share.
type watch struct {
	round uint64
	now   atomic.Uint64 // the round and, below it, the thread that is served; 0 between two stops
	proc  int           // a descriptor of /proc
	by    int           // the tracer's thread
	say   func(format string, args ...any)
}

const threadBits = 32

// serving records the thread that the tracer serves from now on, 0 for none.
func (w *watch) serving(tid int) {
	w.round++
	w.now.Store(w.round<<threadBits | uint64(tid))
}

// keep watches, and never returns.
func (w *watch) keep() {
	var last uint64
	looks := 0
	for range time.Tick(time.Second) {
		now := w.now.Load()
		tid := int(now & (1<<threadBits - 1))
		if now != last || tid == 0 {
			last, looks = now, 0
			continue
		}
		looks++
		switch {
		case looks == lastPatience:
			w.end("all of them", w.tracees())
		case looks%patience == 0 && !w.stopped(tid):
			w.end("it makes no call that it is made to make", []int{tid})
		case looks%patience == 0:
			w.end("they deliver files or memory (FUSE, userfaultfd)", w.deliverers())
		}
	}
}

// end ends processes that block the tracer.
func (w *watch) end(why string, pids []int) {
	for _, pid := range pids {
		w.say("the supervisor waits for process %d, which is ended: %s", pid, why)
		_ = sys.Kill(pid, unix.SIGKILL)
	}
}

// stopped reports whether a thread is in a stop that its tracer handles.
func (w *watch) stopped(tid int) bool {
	stat := w.read(strconv.Itoa(tid) + "/stat")
	// The name is in brackets, and may contain brackets.
	_, state, _ := bytes.Cut(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" "))
	return bytes.HasPrefix(state, []byte("t"))
}

// tracees are the processes that we trace.
func (w *watch) tracees() (pids []int) {
	for _, name := range w.list(".") {
		pid, err := strconv.Atoi(name)
		if err == nil && bytes.Contains(w.read(name+"/status"), []byte("\nTracerPid:\t"+strconv.Itoa(w.by)+"\n")) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// deliverers are the tracees from which the kernel may need a page or a file.
func (w *watch) deliverers() (pids []int) {
	for _, pid := range w.tracees() {
		dir := strconv.Itoa(pid) + "/fd/"
		for _, fd := range w.list(dir) {
			var b [64]byte
			n, _ := unix.Readlinkat(w.proc, dir+fd, b[:])
			if link := string(b[:max(n, 0)]); strings.HasSuffix(link, "/fuse") || link == "anon_inode:[userfaultfd]" {
				pids = append(pids, pid)
				break
			}
		}
	}
	return pids
}

func (w *watch) open(name string) *os.File {
	fd, err := sys.Openat(w.proc, name, unix.O_RDONLY)
	if err != nil {
		return nil
	}
	return os.NewFile(uintptr(fd), name)
}

// list returns the names in a directory of /proc.
func (w *watch) list(name string) []string {
	f := w.open(name)
	defer f.Close()
	names, _ := f.Readdirnames(0)
	return names
}

// read returns the text of a short file of /proc.
func (w *watch) read(name string) []byte {
	f := w.open(name)
	defer f.Close()
	text, _ := io.ReadAll(f)
	return text
}
