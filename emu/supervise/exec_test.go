package supervise

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"binproxy/emu/resolve"
	"binproxy/emu/supervise/stack"
	"binproxy/emu/supervise/tracee"
	"binproxy/emu/sys"
	"binproxy/emu/twin"
)

// handed are the registers of a call that is made again, to execute descriptor fd.
func handed(regs tracee.Registers, call *tracee.Call, fd uint64, path string) tracee.Registers {
	for i, v := range []uint64{fd, pathAt + uint64(len(path)), argvAt, envpAt, unix.AT_EMPTY_PATH, passing} {
		*regs.Arg(call.ABI, i) = v
	}
	regs.Again(call.Execveat)
	return regs
}

// ended are the registers of a call that has ended.
func ended(regs tracee.Registers, result int64) tracee.Registers {
	regs.SetResult(result)
	regs.Finished()
	return regs
}

// newStack lays out a stack as execve leaves it.
func (c *scene) newStack(argv ...string) {
	at := uint64(stackAt + 0x1000)
	words := []uint64{uint64(len(argv))}
	for _, text := range argv {
		copy(c.fake.memory[at-c.fake.base:], text+"\x00")
		words = append(words, at)
		at += uint64(len(text) + 1)
	}
	for i, w := range append(words, 0, 0, 6, 4096, 0, 0) { // no environment, AT_PAGESZ, AT_NULL
		binary.LittleEndian.PutUint64(c.fake.memory[stackAt-c.fake.base+uint64(8*i):], w)
	}
	*c.fake.regs.SP() = stackAt
}

func (c *scene) arguments(t *testing.T) (argv []string, aux []uint64) {
	t.Helper()
	new, err := stack.Read(*c.fake.regs.SP(), c.fake)
	require.NoError(t, err)
	for _, at := range new.Argv {
		text, err := c.fake.ReadString(at, 4096)
		require.NoError(t, err)
		argv = append(argv, text)
	}
	return argv, new.Aux
}

// The whole exec of a guest.
func TestExec(t *testing.T) {
	c := newScene(t)
	call := &tracee.Execs[0]
	path := filepath.Join(c.dir, "guest")
	regs := c.execve("guest")
	require.Equal(t, []string{"hold", "give 1", "to syscall 0"}, c.stop(t, tracee.Seccomp))
	require.Equal(t, handed(regs, call, 10, path), c.fake.regs)
	require.True(t, c.fake.given[0].CloseOnExec)
	require.Equal(t, []string{"to syscall 0"}, c.stop(t, tracee.Syscall), "the emulator's own exec")
	require.Nil(t, c.task.guest)
	require.Equal(t, []string{"to syscall 0"}, c.stop(t, tracee.Exec))
	require.Equal(t, guestABI, c.task.guest.abi)
	name, err := c.sight.PathOf(c.programOf(c.fake.TID()))
	require.NoError(t, err)
	require.Equal(t, path, name)

	c.newStack("zero", "one")
	require.Equal(t, []string{"name guest", "release", "continue 0"}, c.end(t, 0))
	argv, aux := c.arguments(t)
	require.Equal(t, []string{c.emulator, "-0", "zero", "-r", "4.15", path, "one"}, argv)
	require.Equal(t, []uint64{6, 4096, 0, 0}, aux)
	require.Nil(t, c.task.call)

	// A native program takes its place.
	require.Equal(t, []string{"continue 0"}, c.stop(t, tracee.Exec))
	require.Nil(t, c.task.guest)
}

// If the file is no guest, or does not exist, the kernel answers.
func TestExecNative(t *testing.T) {
	c := newScene(t)
	require.NoError(t, os.Symlink("/proc/self/exe", filepath.Join(c.dir, "native")))
	for _, name := range []string{"native", "nothing", "."} {
		regs := c.execve(name)
		require.Equal(t, []string{"release", "continue 0"}, c.stop(t, tracee.Seccomp), name)
		require.Equal(t, regs, c.fake.regs)
		require.Nil(t, c.task.call)
	}
}

// The kernel refuses what the caller may not execute. If that is not certain, the kernel is asked,
// but the caller gets no descriptor of the file.
func TestExecForbidden(t *testing.T) {
	c := newScene(t)
	c.execve("plain")
	if os.Geteuid() == 0 {
		require.Equal(t, []string{"release", "continue 0"}, c.stop(t, tracee.Seccomp))
		return
	}
	require.Equal(t, []string{"to syscall 0"}, c.stop(t, tracee.Seccomp))
	require.False(t, c.task.call.(*exec).byFD)
}

// If the kernel refuses an emulator's exec, only the errno remains.
func TestExecRefused(t *testing.T) {
	c := newScene(t)
	regs := c.execve("guest")
	c.stop(t, tracee.Seccomp)
	c.stop(t, tracee.Syscall)
	require.Equal(t, []string{"close 10", "release", "continue 0"}, c.end(t, -int64(unix.E2BIG)))
	require.Equal(t, ended(regs, -int64(unix.E2BIG)), c.fake.regs)
	require.Nil(t, c.task.call)
}

// A file that the kernel may refuse is tried first, as the call asked for it.
func TestExecAsked(t *testing.T) {
	for _, c := range []struct {
		result int64
		done   []string
	}{
		{-int64(unix.ETXTBSY), []string{"release", "continue 0"}},
		{-int64(unix.ENOEXEC), []string{"hold", "give 1", "to syscall 0"}},
	} {
		s := newScene(t)
		s.write(t, "guest")
		regs := s.execve("guest")
		require.Equal(t, []string{"to syscall 0"}, s.stop(t, tracee.Seccomp))
		require.Equal(t, regs, s.fake.regs)
		require.Equal(t, c.done, s.end(t, c.result))
		if s.task.call == nil {
			require.Equal(t, ended(regs, c.result), s.fake.regs)
		} else {
			require.Equal(t, handed(regs, &tracee.Execs[0], 10, filepath.Join(s.dir, "guest")), s.fake.regs)
		}
	}
}

// A script named by a descriptor: the guest's file is handed over, because the emulator cannot
// open it by a path of the tracee's own.
func TestExecByDescriptor(t *testing.T) {
	c := newScene(t)
	call := &tracee.Execs[1]
	fd, err := unix.MemfdCreate("nameless", unix.MFD_CLOEXEC)
	require.NoError(t, err)
	defer unix.Close(fd)
	text, err := os.ReadFile(filepath.Join(c.dir, "guest"))
	require.NoError(t, err)
	_, err = unix.Write(fd, text)
	require.NoError(t, err)

	regs := c.calls(call, uint64(fd), pathAt, argvAt, envpAt, unix.AT_EMPTY_PATH)
	require.Equal(t, []string{"to syscall 0"}, c.stop(t, tracee.Seccomp))
	require.Equal(t, []string{"hold", "give 2", "to syscall 0"}, c.end(t, -int64(unix.ENOEXEC)))
	require.Equal(t, handed(regs, call, 11, ""), c.fake.regs)
	require.False(t, c.fake.given[0].CloseOnExec)
	c.stop(t, tracee.Syscall)
	c.stop(t, tracee.Exec)
	c.newStack("zero")
	require.Equal(t, []string{"name memfd:nameless", "release", "continue 0"}, c.end(t, 0))
	_, aux := c.arguments(t)
	require.Equal(t, []uint64{stack.AuxExecfd, 10, 6, 4096, 0, 0}, aux)
}

// A tracee whose memory may not be read is made dumpable only while it is looked at.
func TestExecUndumpable(t *testing.T) {
	c := newScene(t)
	call := &tracee.Execs[0]
	regs := c.execve("guest")
	c.fake.denied = true
	require.Equal(t, []string{"hold", "instead", "openly, was 0", "hold", "give 1", "to syscall 0"}, c.stop(t, tracee.Seccomp))
	require.Equal(t, handed(regs, call, 10, filepath.Join(c.dir, "guest")), c.fake.regs)
	require.True(t, c.fake.denied)
	require.Equal(t, []string{"to syscall 0"}, c.stop(t, tracee.Group))
	c.stop(t, tracee.Syscall)
	require.Equal(t, []string{"close 10", "release", "continue 0"}, c.end(t, -int64(unix.ENOMEM)))
	require.Equal(t, ended(regs, -int64(unix.ENOMEM)), c.fake.regs)

	// A call that is left to the kernel, or by which the kernel is asked, is made again.
	for name, want := range map[string]struct{ then, end []string }{
		"nothing": {then: []string{"release", "continue 0"}},
		"guest":   {[]string{"to syscall 0"}, []string{"hold", "give 1", "to syscall 0"}},
	} {
		c.write(t, "guest")
		regs = c.execve(name)
		c.fake.denied = true
		require.Equal(t, []string{"hold", "instead", "openly, was 0", "continue 0"}, c.stop(t, tracee.Seccomp))
		again := regs
		again.Again(uint64(call.Nr))
		require.Equal(t, again, c.fake.regs)
		require.Equal(t, []string{"continue 0"}, c.stop(t, tracee.Group))
		require.Equal(t, want.then, c.stop(t, tracee.Seccomp))
		if want.end != nil {
			require.Equal(t, want.end, c.end(t, -int64(unix.ENOEXEC)))
		}
		require.True(t, c.fake.denied)
		c.task.drop()
		c.fake.took()
	}
}

// A tracee that was stopped in an exec starts the exec again.
func TestExecInterrupted(t *testing.T) {
	c := newScene(t)
	for _, denied := range []bool{false, true} {
		regs := c.execve("guest")
		done := []string{"hold", "give 1", "release", "continue 0"}
		if c.fake.denied = denied; denied {
			done = append([]string{"hold", "instead", "openly, was 0"}, done...)
		}
		c.fake.giving = tracee.ErrInterrupted
		require.Equal(t, done, c.stop(t, tracee.Seccomp))
		again := regs
		again.Again(uint64(tracee.Execs[0].Nr))
		require.Equal(t, again, c.fake.regs)
		require.Nil(t, c.task.call)
	}
}

// The tracee cannot get a descriptor. If it has no number free for one, the emulator is named by
// its path, in a root where that leads to it.
func TestExecNotGiven(t *testing.T) {
	c := newScene(t)
	refused := func(errno unix.Errno) {
		regs := c.execve("guest")
		c.fake.giving = &tracee.GiveError{Errno: errno}
		require.Equal(t, []string{"hold", "give 1", "release", "continue 0"}, c.stop(t, tracee.Seccomp))
		require.Equal(t, ended(regs, -int64(errno)), c.fake.regs)
	}
	refused(unix.ENOSYS)

	regs := c.execve("guest")
	c.fake.giving = &tracee.GiveError{Errno: unix.EMFILE}
	require.Equal(t, []string{"hold", "give 1", "to syscall 0"}, c.stop(t, tracee.Seccomp))
	text, err := c.fake.ReadString(*c.fake.regs.Arg(tracee.Execs[0].ABI, 0), 4096)
	require.NoError(t, err)
	require.Equal(t, c.emulator, text)
	require.Equal(t, []string{"to syscall 0"}, c.stop(t, tracee.Syscall))
	require.Equal(t, []string{"release", "continue 0"}, c.end(t, -int64(unix.E2BIG)))
	require.Equal(t, ended(regs, -int64(unix.E2BIG)), c.fake.regs)

	c.emulators[guestABI].path = "/nowhere"
	refused(unix.EMFILE)
}

// Without a listener the emulator is named by its path, below the tracee's stack, for the duration
// of the call.
func TestExecAlone(t *testing.T) {
	c := newScene(t)
	c.notify, c.alone = -1, true
	before := string(c.fake.memory)
	regs := c.execve("guest")
	before = before[:pathAt-c.fake.base] + string(c.fake.memory[pathAt-c.fake.base:])
	begin := "begin " + strconv.FormatUint(tracee.Execs[0].Execve, 10)
	require.Equal(t, []string{"hold", begin, "to syscall 0"}, c.stop(t, tracee.Seccomp))
	at := *c.fake.regs.Arg(tracee.Execs[0].ABI, 0)
	require.Less(t, at, *regs.SP()-128, "below the red zone")
	text, err := c.fake.ReadString(at, 4096)
	require.NoError(t, err)
	require.Equal(t, c.emulator, text)
	require.Equal(t, []string{"release", "continue 0"}, c.end(t, -int64(unix.ENOMEM)))
	require.Equal(t, ended(regs, -int64(unix.ENOMEM)), c.fake.regs)
	require.Equal(t, before, string(c.fake.memory), "the memory is as it was")

	// A twin's loader, or an emulator, outside the tracee's root cannot be executed so.
	c.emulators[guestABI].path = "/nowhere"
	regs = c.execve("guest")
	skip := "skip " + strconv.Itoa(-int(unix.ENOEXEC))
	require.Equal(t, []string{"hold", skip, "finish", "release", "continue 0"}, c.stop(t, tracee.Seccomp))
	require.Equal(t, ended(regs, -int64(unix.ENOEXEC)), c.fake.regs)
}

// If the kernel refuses a twin's loader, the emulator runs the program.
func TestExecWithoutTwin(t *testing.T) {
	c := newScene(t)
	c.execve("guest")
	c.stop(t, tracee.Seccomp)
	c.stop(t, tracee.Syscall)
	e := c.task.call.(*exec)
	loader := *e.via
	loader.fd = -1
	e.plan.Twin, e.verdict, e.via = &resolve.Twin{}, &twin.Verdict{}, &loader
	c.twins = &twins{loader: loader}
	require.Equal(t, []string{"close 10", "hold", "give 1", "to syscall 0"}, c.end(t, -int64(unix.EACCES)))
	require.Equal(t, c.emulators[guestABI].fd, c.fake.given[0].FD)
	require.Contains(t, e.why, "permission denied")
}

// If the new stack cannot be reached, the process is ended.
func TestExecUnreachable(t *testing.T) {
	c := newScene(t)
	c.execve("guest")
	c.stop(t, tracee.Seccomp)
	c.stop(t, tracee.Syscall)
	c.stop(t, tracee.Exec)
	*c.fake.regs.SP() = 8
	require.ErrorIs(t, c.serve(c.task, tracee.Stop{Kind: tracee.Syscall}), unix.ESRCH)
	require.Equal(t, []string{"kill"}, c.fake.took())
}

// A program that asks learns that it is supervised.
func TestQuestion(t *testing.T) {
	c := newScene(t)
	c.calls(&tracee.Execs[1], ^uint64(0), pathAt, 0, 0, sys.QuestionFlags)
	skip := "skip " + strconv.Itoa(sys.QuestionAnswer)
	require.Equal(t, []string{skip, "release", "continue 0"}, c.stop(t, tracee.Seccomp))
}

// Another call of the tracee ends the one in progress, and so does a native program.
func TestOvertaken(t *testing.T) {
	for _, kind := range []tracee.Kind{tracee.Seccomp, tracee.Exec} {
		c := newScene(t)
		c.write(t, "guest")
		c.execve("guest")
		require.Equal(t, []string{"to syscall 0"}, c.stop(t, tracee.Seccomp))
		before := c.task.call.(*exec)
		require.NotNil(t, before.guest)
		c.execve("nothing")
		c.stop(t, kind)
		require.Nil(t, c.task.call)
		require.Nil(t, before.guest, "its file is closed")
	}
}
