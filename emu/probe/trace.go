package probe

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"binproxy/emu/sys"
)

// waitForEnd is a process to look at: it exists until its stdin ends.
func waitForEnd([]string) error {
	var b [1]byte
	_, _ = os.Stdin.Read(b[:])
	return nil
}

// traced starts a process, seizes it as the supervisor does, and reads its memory: the results of
// ptrace and of process_vm_readv.
func traced() (seize, read Result) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	p := command(nil, nil, "wait")
	stdin, err := p.StdinPipe()
	if err == nil {
		err = p.Start()
	}
	if err != nil {
		return unknown(err), unknown(err)
	}
	defer func() {
		stdin.Close()
		_ = p.Process.Kill()
		_ = p.Wait()
	}()
	const options = unix.PTRACE_O_EXITKILL | unix.PTRACE_O_TRACESECCOMP | unix.PTRACE_O_TRACEEXEC | unix.PTRACE_O_TRACESYSGOOD
	seize = yes("")
	if err := sys.Seize(p.Process.Pid, options); err != nil {
		seize = no(traceChange(err), "ptrace(PTRACE_SEIZE): %v", sys.Untraceable(err))
	}
	return seize, readMemory(p.Process.Pid)
}

func traceChange(err error) string {
	if sys.Supervised() {
		return ours
	}
	if sys.Untraceable(err) != err {
		return "a start outside of that tracer"
	}
	if err == unix.ENOSYS || err == unix.EINVAL || err == unix.EIO {
		return "a kernel with ptrace, 4.8 or later; a sandbox such as gVisor has only a part of it"
	}
	switch text, _ := os.ReadFile("/proc/sys/kernel/yama/ptrace_scope"); strings.TrimSpace(string(text)) {
	case "2":
		return "CAP_SYS_PTRACE, or kernel.yama.ptrace_scope below 2"
	case "3":
		return "kernel.yama.ptrace_scope is 3: only a reboot with a lower one changes it"
	}
	return profile("CAP_SYS_PTRACE (docker run --cap-add SYS_PTRACE), or a security module that allows it")
}

// readMemory reads the start of a process's first mapping.
func readMemory(pid int) Result {
	maps, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/maps")
	if err != nil {
		return unknown(err)
	}
	start, _, _ := strings.Cut(string(maps), "-")
	address, err := strconv.ParseUint(start, 16, 64)
	if err != nil {
		return unknown(fmt.Errorf("/proc/%d/maps: %w", pid, err))
	}
	var b [4]byte
	if n, err := sys.ReadProcess(pid, address, b[:]); err != nil || n != len(b) {
		return no(profile("CAP_SYS_PTRACE"), "process_vm_readv: %v; memory is then read by other, slower ways", err)
	}
	return yes("")
}
