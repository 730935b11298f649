package tracee

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"binproxy/emu/sys"
)

// secret is what the child has in its memory.
const secret = "what a tracee has in its memory"

var texts [2][]byte

// TestMain is also the child that is traced: two threads that make calls without end.
func TestMain(m *testing.M) {
	if os.Getenv("TRACEE_TEST_CHILD") == "" {
		os.Exit(m.Run())
	}
	for i := range texts {
		go func() {
			runtime.LockOSThread()
			texts[i] = []byte(secret + "\x00")
			fmt.Printf("%d %p\n", unix.Gettid(), texts[i])
			for {
				_, _, _ = unix.RawSyscall(unix.SYS_GETPGID, 0, 0, 0) // unknown to the runtime
			}
		}()
	}
	time.Sleep(time.Minute) // the test has ended it by then
}

// child is a running process, of which two threads are traced.
type child struct {
	tracer  *Tracer
	pid     int
	threads []*Thread
	secret  []uint64 // an address in the memory of each
}

func newChild(t *testing.T) *child {
	t.Helper()
	if len(Execs) == 0 {
		t.Skip("needs a host whose registers are known")
	}
	runtime.LockOSThread() // the tracees belong to this thread
	proc, err := sys.OpenProc()
	require.NoError(t, err)
	cmd := exec.Command("/proc/self/exe")
	// No signals of the runtime.
	cmd.Env = append(os.Environ(), "TRACEE_TEST_CHILD=1", "GOMAXPROCS=4", "GODEBUG=asyncpreemptoff=1")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	c := &child{tracer: &Tracer{Proc: proc}, pid: cmd.Process.Pid}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		for { // its leader ends last, after the end of each thread was reported
			stop, err := c.tracer.Next()
			if err != nil || stop.Kind == Ended && stop.TID == c.pid {
				break
			}
		}
		_ = cmd.Wait()
		unix.Close(proc)
		runtime.UnlockOSThread()
	})
	lines := bufio.NewScanner(out)
	for range 2 {
		require.True(t, lines.Scan())
		var tid int
		var address uint64
		_, err := fmt.Sscan(lines.Text(), &tid, &address)
		require.NoError(t, err)
		require.NoError(t, c.tracer.Seize(tid))
		c.threads = append(c.threads, c.tracer.Thread(tid))
		c.secret = append(c.secret, address)
	}
	return c
}

// atEnd stops a thread at the end of a call.
func (c *child) atEnd(t *testing.T, thread *Thread) {
	t.Helper()
	require.NoError(t, sys.Interrupt(thread.TID()))
	stop, err := c.tracer.waitFor(thread.TID())
	require.NoError(t, err)
	require.Equal(t, Group, stop.Kind)
	for last := uint64(0); ; {
		for range 2 { // a call's start and its end
			require.NoError(t, thread.Finish())
		}
		regs, err := thread.Registers()
		require.NoError(t, err)
		if regs.Instruction() == last {
			return // it makes its calls without end
		}
		last = regs.Instruction()
	}
}

func TestMemory(t *testing.T) {
	c := newChild(t)
	thread, at := c.threads[1], c.secret[1]
	c.atEnd(t, thread)
	text, err := thread.ReadString(at, len(secret)+1)
	require.NoError(t, err)
	require.Equal(t, secret, text)
	require.NoError(t, thread.Write(at, []byte("WHAT")))
	b := make([]byte, 6)
	require.NoError(t, thread.Read(at, b))
	require.Equal(t, "WHAT a", string(b))
	require.ErrorIs(t, thread.Read(16, b), unix.EFAULT)
	require.Error(t, thread.Write(16, b))
}

// A thread at a call's end makes other calls, and goes on as if it had not.
func TestCallAt(t *testing.T) {
	c := newChild(t)
	thread := c.threads[1]
	c.atEnd(t, thread)
	before, err := thread.Registers()
	require.NoError(t, err)
	require.NoError(t, thread.Quietly(func() error {
		result, err := thread.CallAt(ABI64, before, before.Instruction(), ABI64.Prctl, unix.PR_SET_DUMPABLE, 0)
		require.Zero(t, result)
		require.NoError(t, err)
		result, err = thread.CallAt(ABI64, before, before.Instruction(), ABI64.Prctl, unix.PR_GET_DUMPABLE, 0)
		require.Zero(t, result)
		return err
	}))
	back := before
	back.Finished()
	require.NoError(t, thread.SetRegisters(back))
	for range 4 {
		require.NoError(t, thread.Finish())
		after, err := thread.Registers()
		require.NoError(t, err)
		require.Equal(t, before.Instruction(), after.Instruction(), "it makes its own calls")
	}
}

// A thread whose process is not dumpable is dumpable only while something is done to it, and
// tracees that could look at it are stopped meanwhile.
func TestWhileDumpable(t *testing.T) {
	c := newChild(t)
	thread, other := c.threads[1], c.threads[0].TID()
	c.tracer.Witnesses = func(tid int) []int {
		require.Equal(t, thread.TID(), tid)
		return []int{other}
	}
	c.tracer.patience = time.Minute // a busy machine may not let it run, and so stop, before
	c.atEnd(t, thread)
	regs, err := thread.Registers()
	require.NoError(t, err)
	prctl := func(what, value uint64) int64 {
		result, err := thread.CallAt(ABI64, regs, regs.Instruction(), ABI64.Prctl, what, value)
		require.NoError(t, err)
		return result
	}
	require.NoError(t, thread.Quietly(func() error {
		prctl(unix.PR_SET_DUMPABLE, 0)
		err := thread.WhileDumpable(ABI64, regs, 0, func() error {
			require.True(t, c.tracer.hasStopped(other))
			require.EqualValues(t, 1, prctl(unix.PR_GET_DUMPABLE, 0))
			return nil
		})
		require.Zero(t, prctl(unix.PR_GET_DUMPABLE, 0))
		return err
	}))
	stop, err := c.tracer.Next()
	require.NoError(t, err)
	require.Equal(t, Stop{TID: other, Kind: Group, Signal: unix.SIGTRAP, Status: stop.Status, CPU: unknown}, stop)
}

// For a signal that nobody can block, the thread that was to have it makes up, before its program
// goes on.
func TestReleaseStops(t *testing.T) {
	c := newChild(t)
	thread := c.threads[1]
	for round := range 20 {
		c.atEnd(t, thread)
		regs, err := thread.Registers()
		require.NoError(t, err)
		require.NoError(t, thread.Quietly(func() error {
			require.NoError(t, sys.SendThread(thread.TID(), unix.SIGSTOP))
			_, err := thread.CallAt(ABI64, regs, regs.Instruction(), ABI64.Prctl, unix.PR_GET_DUMPABLE, 0)
			return err
		}))
		regs.Finished()
		require.NoError(t, thread.SetRegisters(regs))
		require.NoError(t, thread.ToSyscall(0))
		stop, err := c.tracer.waitFor(thread.TID())
		require.NoError(t, err)
		require.Equal(t, Signal, stop.Kind, "round %d", round)
		require.Equal(t, unix.SIGSTOP, stop.Signal)
		require.NoError(t, thread.Continue(0))
	}
}

// A thread that is killed in the middle of a change is gone, and its end is left for the loop.
func TestKilled(t *testing.T) {
	c := newChild(t)
	thread := c.threads[1]
	c.atEnd(t, thread)
	thread.Kill()
	require.Eventually(t, func() bool { return Gone(thread.Finish()) }, 10*time.Second, time.Millisecond)
	for {
		stop, err := c.tracer.Next()
		require.NoError(t, err)
		if stop.TID == thread.TID() {
			require.Equal(t, Ended, stop.Kind)
			require.Equal(t, unix.SIGKILL, stop.Status.Signal())
			return
		}
	}
}

// A thread that does not do what it is made to do, because of a fault or endless stops, is ended
// with its process, and does not block its tracer.
func TestLost(t *testing.T) {
	for name, lose := range map[string]func(c *child, thread *Thread, r Registers) (string, error){
		"a fault": func(c *child, thread *Thread, r Registers) (string, error) {
			_, err := thread.CallAt(ABI64, r, 0, ABI64.Prctl, unix.PR_GET_DUMPABLE, 0)
			return "segmentation fault", err
		},
		"stops": func(c *child, thread *Thread, r Registers) (string, error) {
			thread.passed = maxMeanwhile
			_ = sys.SendThread(thread.TID(), unix.SIGSTOP)
			_, err := thread.CallAt(ABI64, r, r.Instruction(), ABI64.Prctl, unix.PR_GET_DUMPABLE, 0)
			return "was stopped 1000 times", err
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newChild(t)
			thread := c.threads[1]
			c.atEnd(t, thread)
			regs, err := thread.Registers()
			require.NoError(t, err)
			require.NoError(t, thread.Hold())
			said, err := lose(c, thread, regs)
			require.ErrorContains(t, err, said)
			thread.Release()
			for {
				stop, err := c.tracer.Next()
				require.NoError(t, err)
				if stop.TID == thread.TID() {
					require.Equal(t, Ended, stop.Kind)
					require.Equal(t, unix.SIGKILL, stop.Status.Signal())
					return
				}
			}
		})
	}
}
