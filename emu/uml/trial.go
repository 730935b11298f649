package uml

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"binproxy/emu/exit"
)

// A kernel that this machine cannot run panics in the first moments, before or at its first
// process. So a boot up to PID 1 tells whether it runs, in a fraction of a second. What it told is
// kept in the cache, since it depends on nothing but the kernel's file, the CPU and the host's
// kernel.

// ErrUntold is the error of a trial that could not tell.
var ErrUntold = exit.Sentinel("could not tell")

// boot is a variable for tests, whose program cannot be a guest's PID 1.
var boot = (*Kernel).boot

// Try says why the kernel does not run on this machine, nil if it does. It boots the kernel,
// unless an earlier trial succeeded. A failed one is repeated: it may have had another reason. The
// result is kept.
func (k *Kernel) Try() error { return k.try(k.remember) }

// Look is Try without keeping the result.
func (k *Kernel) Look() error { return k.try(func(string) {}) }

func (k *Kernel) try(keep func(why string)) error {
	if err := runsOn(k.Release, hostRegisters()); err != nil {
		return fmt.Errorf("%w; %s", err, another)
	}
	if known, why := k.remembered(); known && why == "" {
		return nil
	}
	why, err := boot(k)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUntold, err)
	}
	keep(why)
	if why != "" {
		return fmt.Errorf("%w; %s", didNotBoot(why), another)
	}
	return nil
}

// mayRun is the check of a choice among several kernels: one that failed before, or fails now, is
// passed over.
func (k *Kernel) mayRun() error {
	if err := k.RunsHere(); err != nil {
		return err
	}
	if err := k.Try(); err != nil && !errors.Is(err, ErrUntold) {
		return fmt.Errorf("kernel %s (%s): %w", k.Path, k.Release, err)
	}
	return nil
}

func didNotBoot(why string) error { return fmt.Errorf("did not boot here: %s", why) }

// boot boots the kernel until its PID 1 says that it runs. It returns the kernel's last words if
// it ends before, and an error if something else prevents the boot.
func (k *Kernel) boot() (why string, err error) {
	if err := k.traceable(); err != nil {
		return "", err
	}
	var o Options
	h := &host{kernel: k, job: &job{Trial: 1, Kernel: k.Path, Libs: k.libs, Root: filepath.Dir(k.Path), Mode: modeRO, Mem: DefaultMem}}
	if err := o.setSelf(h.job); err != nil {
		return "", err
	}
	messages, err := h.start()
	defer h.stop()
	if err != nil {
		return "", err
	}
	select {
	case m, ok := <-messages:
		if !ok {
			return h.lastWords()
		}
		if m.kind == "error" { // the jail's
			return "", errors.New(m.text)
		}
		return "", nil
	case <-time.After(bootLimit): // it hangs, or the machine is busy
		return "", fmt.Errorf("it did not boot within %v", bootLimit)
	}
}

// lastWords are the end of the log of a kernel that ended by itself. One that was killed tells
// nothing.
func (h *host) lastWords() (string, error) {
	h.awaitEnd()
	status := h.jail.ProcessState.ExitCode()
	if status < 0 || status == 128+int(unix.SIGKILL) || status == 128+int(unix.SIGTERM) {
		return "", errors.New("its boot was killed")
	}
	return fmt.Sprintf("it ended with status %d and the words %q", status, h.log.last(2)), nil
}

// remembered is an earlier trial's result, why being "" for a success.
func (k *Kernel) remembered() (known bool, why string) {
	file, about := k.record()
	text, err := os.ReadFile(file)
	if err != nil {
		return false, ""
	}
	why, known = strings.CutPrefix(string(text), about)
	if !known {
		return false, ""
	}
	return true, why
}

// remember keeps a result. Where the cache cannot be written to, the next trial is another boot.
func (k *Kernel) remember(why string) {
	file, about := k.record()
	if file != "" && os.MkdirAll(filepath.Dir(file), 0o755) == nil {
		os.WriteFile(file, []byte(about+why), 0o644)
	}
}

// record is the file for a trial's result, and the line that says what the result is about.
func (k *Kernel) record() (file, about string) {
	var st unix.Stat_t
	cache, err := CacheDir()
	if err != nil || unix.Stat(k.Path, &st) != nil {
		return "", ""
	}
	host, _ := os.ReadFile("/proc/version")
	about = fmt.Sprintln(k.Path, st.Size, st.Mtim, cpuModel(), hostRegisters(), strings.TrimSpace(string(host)))
	return filepath.Join(cache, "tried", fmt.Sprint(st.Ino)), about
}

// cpuModel is the name of the first processor's model.
func cpuModel() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	defer f.Close()
	text := make([]byte, 1024)
	n, _ := io.ReadFull(f, text)
	_, after, _ := strings.Cut(string(text[:n]), "\nmodel name\t: ")
	model, _, _ := strings.Cut(after, "\n")
	return model
}
