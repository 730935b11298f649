package uml

import "binproxy/emu/entrypoint"

// A job is the message of the host side to the jail, and of the jail to the guest's PID 1, in a
// file: a kernel's command line takes few arguments, and none with a space.
type job struct {
	// for the jail
	Kernel     string   // the kernel's file
	Libs       []string // the loader and libraries it needs: file and name of each
	KernelArgs []string
	Self       string // binproxy: the guest's PID 1
	Root       string
	Binds      []string // SRC, DST and "ro" or "rw": three words each
	Mem        int      // MiB
	MemDir     string   // the directory of the guest's memory; "" for a tmpfs of the jail's own
	LayerDir   string   // the directory of a kept layer; "" for a layer that is dropped
	Modules    []string // kernel modules, as paths of the host
	Emulator   string   // the static emulator of Arch
	Helper     string   // slirp, if the kernel starts it
	HelperLibs []string

	// for PID 1
	Trial    int    // 1: only say that the kernel runs
	Mode     string // modeRO, modeOverlay, modeRW
	NoSuid   int    // 1: owners in the guest are not real, so set-user-ID bits must have no effect
	Arch     string // the guest's ABI, "" for the host's
	Net      string // the interface: "", vec0, eth0
	Hostname string
	Argv     []string // empty: a shell
	Env      []string
	Dir      string
	Umask    int
	TTY      int // a bit for each of the file descriptors 0, 1, 2 that is the caller's terminal
	Rows     int
	Cols     int
}

// These are the ways to show the root to the guest.
const (
	modeRO      = "ro"
	modeOverlay = "overlay"
	modeRW      = "rw"
)

// Fields contains everything: the jail gets no environment from us.
func (j *job) Fields(w *entrypoint.Words) {
	w.String(&j.Kernel, &j.Self, &j.Root, &j.MemDir, &j.LayerDir, &j.Emulator, &j.Helper, &j.Mode, &j.Arch, &j.Net, &j.Hostname, &j.Dir)
	for _, list := range []*[]string{&j.Libs, &j.KernelArgs, &j.Binds, &j.Modules, &j.HelperLibs, &j.Argv, &j.Env} {
		w.Strings(list)
	}
	entrypoint.Number(w, &j.Trial, &j.Mem, &j.NoSuid, &j.Umask, &j.TTY, &j.Rows, &j.Cols)
}
