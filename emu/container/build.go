package container

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"binproxy/emu/arch"
	"binproxy/emu/binfmt"
	"binproxy/emu/entrypoint"
	"binproxy/emu/identity"
	"binproxy/emu/route"
	"binproxy/emu/sys"
	"binproxy/emu/userns"
)

// The child's descriptors: where it answers, where it hears whether to stay and, for route
// supervise, the emulator. An anchor keeps the emulator open as long as it lives, for those who
// enter.
const (
	answerFD   = 3
	staysFD    = 4
	emulatorFD = 5
)

// Make is the child's side of Create: it makes the container around itself, answers, and stays as
// its anchor if told to.
func Make(words []string) error {
	var p plan
	if err := userns.Arrive(words, &p); err != nil {
		return err
	}
	answer, stays := os.NewFile(answerFD, "answer"), os.NewFile(staysFD, "stays")
	unix.CloseOnExec(answerFD)
	unix.CloseOnExec(staysFD)
	unix.Umask(0o022) // everybody in the root may use what is made there
	if p.Emulator {
		unix.CloseOnExec(emulatorFD)
		p.emulator = os.NewFile(emulatorFD, "emulator")
		defer runtime.KeepAlive(p.emulator)
	}
	r := report{PID: os.Getpid()}
	err := p.make()
	if err == nil && p.Inner != nil {
		err = handOver(p, answer, stays)
		if err == nil {
			return nil
		}
	}
	if err != nil {
		r = report{Error: err.Error(), NoBinfmt: errors.Is(err, errNoBinfmt)}
	}
	if err := json.NewEncoder(answer).Encode(r); err != nil || r.Error != "" {
		return err
	}
	answer.Close()
	return hold(stays)
}

// handOver starts the anchor in another user namespace, where the caller has his own id.
func handOver(p plan, answer, stays *os.File) error {
	files := []*os.File{answer, stays}
	if p.Emulator {
		files = append(files, p.emulator)
	}
	_, err := userns.Child{IDs: *p.Inner, Detached: true, Files: files}.Start(entrypoint.Hold, &entrypoint.Nothing{})
	return err
}

// Hold is that anchor's work.
func Hold(words []string) error {
	if err := userns.Arrive(words, &entrypoint.Nothing{}); err != nil {
		return err
	}
	answer, stays := os.NewFile(answerFD, "answer"), os.NewFile(staysFD, "stays")
	if err := json.NewEncoder(answer).Encode(report{PID: os.Getpid()}); err != nil {
		return err
	}
	answer.Close()
	return hold(stays)
}

// hold ends if the creator closes the pipe without a word (it was killed, or has pinned the
// namespaces), and stays for ever if the creator says so.
func hold(stays *os.File) error {
	word, err := io.ReadAll(io.LimitReader(stays, 16))
	if err != nil || strings.TrimSpace(string(word)) != "stay" {
		return err
	}
	stays.Close()
	for {
		time.Sleep(1 << 62)
	}
}

// step is one action of the child, which may fail.
type step struct {
	name string
	do   func() error
}

// make takes the steps. If one fails, their mounts end with the namespace, and what they made in
// the root is removed.
func (p plan) make() error {
	b := builder{plan: p}
	defer b.close()
	for n, s := range b.steps() {
		err := s.do()
		if n+1 == p.FailAt {
			err = errors.New("failed for the test's sake")
		}
		if err != nil {
			b.undo()
			return fmt.Errorf("container: %s: %w", s.name, err)
		}
	}
	return nil
}

// builder is what the steps share: the root as it is on disk, and what was made in it.
type builder struct {
	plan
	disk  *os.File
	bound bool
	made  []string
}

func (b *builder) close() {
	if b.disk != nil {
		b.disk.Close()
	}
}

// undo uncovers the root as it is on disk and removes what was made there.
func (b *builder) undo() {
	if b.bound {
		_ = sys.Detach(b.Location)
	}
	if b.disk != nil {
		unmake(b.disk, b.made)
	}
}

func (b *builder) steps() []step {
	steps := []step{{"opening the root", b.open}}
	for _, m := range b.Mounts {
		steps = append(steps, step{"a place for " + m.Source, func() error { return b.makePlace(m) }})
	}
	if len(b.Entries) > 0 {
		steps = append(steps, step{"registering the emulator", b.register})
	}
	steps = append(steps, step{"binding the root on itself", b.bindRoot})
	for _, m := range b.Mounts {
		steps = append(steps, step{"mounting " + m.Source, func() error { return b.mount(m) }})
	}
	if len(b.Entries) == 0 {
		steps = append(steps, step{"covering the host's entries", b.coverEntries})
	}
	if !b.Identity.IsZero() {
		steps = append(steps, step{"covering the kernel's files", b.tell})
	}
	return append(steps,
		step{"running a program of " + b.ABI, b.prove},
		step{"going into the root", func() error { return os.Chdir(b.Location) }},
		step{"making it the root", sys.PivotHere},
	)
}

func (b *builder) open() (err error) {
	b.disk, err = os.OpenFile(b.Location, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	return err
}

func (b *builder) makePlace(m mount) error {
	f, err := m.place(b.disk, &b.made)
	if err == nil {
		f.Close()
	}
	return err
}

func (b *builder) bindRoot() error {
	err := sys.Bind(b.Location, b.Location)
	b.bound = err == nil
	if b.bound && b.NoSetID {
		err = unix.MountSetattr(-1, b.Location, unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID})
		err = os.NewSyscallError("mount_setattr", err)
	}
	return err
}

func (b *builder) mount(m mount) error {
	root, err := os.OpenFile(b.Location, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer root.Close()
	at, err := m.place(root, &b.made)
	if err != nil {
		return err
	}
	defer at.Close()
	return sys.Bind(m.Source, sys.FDPath(at))
}

// register makes the namespace's entries, which then appear in the root with /proc. They are
// read-only: packages that bring emulators would register theirs.
func (b *builder) register() error {
	if err := userns.Register(b.Entries); err != nil {
		return &noBinfmt{err}
	}
	return sys.Mount("none", binfmt.Dir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
}

// noBinfmt is errNoBinfmt with the kernel's own message.
type noBinfmt struct{ error }

func (e *noBinfmt) Is(target error) bool { return target == errNoBinfmt }

// coverEntries keeps packages inside from registering their emulators with the host.
func (b *builder) coverEntries() error {
	if _, err := binfmt.Host(); err != nil {
		return nil // nothing to cover
	}
	return sys.Mount("none", b.Location+binfmt.Dir, "tmpfs", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "size=4k,mode=555")
}

// tell makes the kernel's files show the identity; for uname(2) each enter has its supervisor.
func (b *builder) tell() error { return identity.Cover(b.Identity.Files(os.ReadFile), b.Location) }

func (b *builder) prove() error {
	if b.Emulator {
		return proveSupervised(b.ABI, b.emulator)
	}
	return route.Prove(arch.Get(b.ABI), b.Location)
}
