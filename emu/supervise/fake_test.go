package supervise

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"binproxy/emu/arch"
	"binproxy/emu/elfinfo/tiny"
	"binproxy/emu/emulator"
	"binproxy/emu/resolve"
	"binproxy/emu/supervise/launch"
	"binproxy/emu/supervise/sight"
	"binproxy/emu/supervise/tracee"
	"binproxy/emu/sys"
)

// fake imitates a thread, and records what is done to it. For /proc it is the test's own thread.
type fake struct {
	tid     int    // 0 for the test's own thread
	base    uint64 // the address of memory
	memory  []byte
	regs    tracee.Registers
	message uint

	denied bool  // its memory may not be read until it is dumpable
	giving error // the error of Give
	given  []tracee.File
	done   []string
}

func (f *fake) did(format string, args ...any) { f.done = append(f.done, fmt.Sprintf(format, args...)) }

// took returns what was done since the last took.
func (f *fake) took() []string {
	done := f.done
	f.done = nil
	return done
}

func (f *fake) TID() int               { return cmp.Or(f.tid, unix.Gettid()) }
func (f *fake) Become(int)             {}
func (f *fake) Message() (uint, error) { return f.message, nil }

func (f *fake) at(addr uint64, n int) ([]byte, error) {
	if addr < f.base || addr+uint64(n) > f.base+uint64(len(f.memory)) {
		return nil, unix.EFAULT
	}
	return f.memory[addr-f.base:][:n], nil
}

func (f *fake) Read(addr uint64, b []byte) error {
	if f.denied {
		return tracee.ErrDenied
	}
	from, err := f.at(addr, len(b))
	copy(b, from)
	return err
}

func (f *fake) Write(addr uint64, b []byte) error {
	to, err := f.at(addr, len(b))
	copy(to, b)
	return err
}

func (f *fake) ReadString(addr uint64, limit int) (string, error) {
	if err := f.Read(addr, make([]byte, 1)); err != nil {
		return "", err
	}
	text, _, _ := bytes.Cut(f.memory[addr-f.base:], []byte{0})
	return string(text), nil
}

func (f *fake) Registers() (tracee.Registers, error) { return f.regs, nil }

func (f *fake) SetRegisters(r tracee.Registers) error {
	f.regs = r
	return nil
}

func (f *fake) Begin(r tracee.Registers, nr uint64) error {
	f.did("begin %d", nr)
	return f.SetRegisters(r)
}

func (f *fake) Skip(r tracee.Registers, result int64) error {
	f.did("skip %d", result)
	return f.SetRegisters(r)
}

func (f *fake) Instead(abi *tracee.ABI, _ tracee.Registers, nr, a, b uint64) (int64, error) {
	f.did("instead")
	return f.make(abi, nr, a, b)
}

func (f *fake) CallAt(abi *tracee.ABI, _ tracee.Registers, _, nr, a, b uint64) (int64, error) {
	return f.make(abi, nr, a, b)
}

func (f *fake) WhileDumpable(_ *tracee.ABI, _ tracee.Registers, was int64, do func() error) error {
	f.did("openly, was %d", was)
	f.denied = false
	defer func() { f.denied = was != 1 }()
	return do()
}

// make is a call that the supervisor has the thread make.
func (f *fake) make(abi *tracee.ABI, nr, a, b uint64) (int64, error) {
	switch {
	case nr == abi.Close:
		f.did("close %d", a)
	case nr == abi.Prctl && a == unix.PR_GET_DUMPABLE && f.denied:
		return 0, nil
	case nr == abi.Prctl && a == unix.PR_SET_NAME:
		text, err := f.ReadString(b, 16)
		f.did("name %s", text)
		return 0, err
	default:
		f.did("call %d", nr)
	}
	return 0, nil
}

// Give gives the numbers 10, 11 ...
func (f *fake) Give(_ *tracee.Call, _ tracee.Registers, from tracee.Where, files []tracee.File) error {
	f.did("give %d", len(files))
	if f.giving != nil {
		return f.giving
	}
	for i := range files {
		files[i].Number = 10 + i
	}
	f.given = files
	return nil
}

func (f *fake) Pass(abi *tracee.ABI, r *tracee.Registers) { *r.Arg(abi, 5) = passing }

func (f *fake) Finish() error {
	f.did("finish")
	return nil
}

func (f *fake) Hold() error {
	f.did("hold")
	return nil
}

func (f *fake) Release() { f.did("release") }

func (f *fake) Quietly(do func() error) error { return do() }

func (f *fake) Continue(signal unix.Signal) error {
	f.did("continue %d", signal)
	return nil
}

func (f *fake) AddFilter(*tracee.ABI, tracee.Registers, tracee.Where, tracee.Further) error {
	return nil
}

func (f *fake) Borrowed(_ uint64, _ []byte, do func() error) error { return do() }

func (f *fake) ToSyscall(signal unix.Signal) error {
	f.did("to syscall %d", signal)
	return nil
}

func (f *fake) Listen() error { return nil }
func (f *fake) Interrupt()    {}
func (f *fake) Kill()         { f.did("kill") }

// passing is the cookie of calls that the filter lets pass.
const passing = 0x9a55

// guestABI is an ABI that none of our hosts runs.
var guestABI = arch.Get("s390x")

// scene is a supervisor with one tracee, and some files.
type scene struct {
	*supervisor
	task     *task
	fake     *fake
	dir      string
	emulator string
}

func newScene(t *testing.T) *scene {
	t.Helper()
	if len(tracee.Execs) == 0 {
		t.Skip("needs a host whose registers are known")
	}
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	for name, mode := range map[string]os.FileMode{"guest": 0o755, "plain": 0o644} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), tiny.Program(guestABI), mode))
		require.NoError(t, os.Chmod(filepath.Join(dir, name), mode))
	}
	own, err := os.Executable()
	require.NoError(t, err)

	s := &supervisor{child: &launch.Child{}, tasks: map[int]*task{}, overtakers: map[int]*task{}, emulators: map[*arch.ABI]*opened{}, broken: map[*arch.ABI]error{}}
	s.config.Emulator = func(abi *arch.ABI) (emulator.Emulator, error) {
		return emulator.Emulator{QEMU: abi.QEMU, Path: own}, nil
	}
	s.config.Identity.Release = "4.15"
	s.resolver = resolve.Resolver{Guest: func(a *arch.ABI) bool { return a == guestABI }}
	proc, err := sys.OpenProc()
	require.NoError(t, err)
	self, err := sys.Openat(proc, "self/fd", unix.O_PATH|unix.O_DIRECTORY)
	require.NoError(t, err)
	t.Cleanup(func() { unix.Close(self); unix.Close(proc) })
	s.sight, err = sight.New(proc, self)
	require.NoError(t, err)

	f := &fake{base: 0x10000, memory: make([]byte, 0x10000)}
	*f.regs.SP() = f.base + 0x8000
	c := &scene{s, &task{thread: f}, f, dir, own}
	s.tasks[f.TID()] = c.task
	return c
}

const (
	pathAt  = 0x10100 // the address of a call's path
	argvAt  = 0x11000
	envpAt  = 0x12000
	stackAt = 0x14000 // the address of a new program's stack
)

// calls has the tracee about to make one of the execs, and returns its registers.
func (c *scene) calls(call *tracee.Call, args ...uint64) tracee.Registers {
	c.fake.message = 0
	for i := range tracee.Execs {
		if &tracee.Execs[i] == call {
			c.fake.message = uint(i + 1)
		}
	}
	for i, v := range args {
		*c.fake.regs.Arg(call.ABI, i) = v
	}
	return c.fake.regs
}

// execve is an execve of a file of the scene.
func (c *scene) execve(name string) tracee.Registers {
	copy(c.fake.memory[pathAt-c.fake.base:], filepath.Join(c.dir, name)+"\x00")
	return c.calls(&tracee.Execs[0], pathAt, argvAt, envpAt)
}

// stop serves a stop, and returns what was done.
func (c *scene) stop(t *testing.T, kind tracee.Kind) []string {
	t.Helper()
	require.NoError(t, c.serve(c.task, tracee.Stop{TID: c.fake.TID(), Kind: kind}))
	return c.fake.took()
}

// end serves the end of a call with this result.
func (c *scene) end(t *testing.T, result int64) []string {
	t.Helper()
	c.fake.regs.SetResult(result)
	return c.stop(t, tracee.Syscall)
}

// write holds a file open for writing: the kernel would not execute it.
func (c *scene) write(t *testing.T, name string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(c.dir, name), os.O_WRONLY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
}
