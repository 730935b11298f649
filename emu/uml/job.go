package uml

import "binproxy/emu/entrypoint"

// A job is what the host side tells the jail, and the jail the guest's PID 1, by a file: the
// arguments on a kernel's command line are few, and cannot hold a space.
type job struct {
	// for the jail
	Kernel     string   // the kernel's file
	Libs       []string // the loader and libraries it needs: file and name of each
	KernelArgs []string
	Self       string // binproxy: the guest's PID 1
	Root       string
	Binds      []string // SRC, DST and "ro" or "rw": three words each
	Mem        int      // MiB
	MemDir     string   // where the guest's memory lies; "" for a tmpfs of the jail's own
	LayerDir   string   // where a kept layer lies; "" for one that is thrown away
	Modules    []string // kernel modules, as PATH of the host
	Emulator   string   // the static emulator of Arch
	Helper     string   // slirp, where the kernel starts it
	HelperLibs []string

	// for PID 1
	Mode     string // modeRO, modeOverlay, modeRW
	NoSuid   int    // 1: what the set-user-ID bits say of owners is not true in the guest
	Arch     string // the guest's ABI, "" for the host's
	Net      string // the interface: "", vec0, eth0
	Hostname string
	Argv     []string // empty: a shell
	Env      []string
	Dir      string
	Umask    int
	TTY      int // a bit for each of the file descriptors 0, 1, 2 that is a terminal of the caller
	Rows     int
	Cols     int
}

// How the root is shown to the guest.
const (
	modeRO      = "ro"
	modeOverlay = "overlay"
	modeRW      = "rw"
)

// Fields has all of it: the jail is told no environment, which is its own.
func (j *job) Fields(w *entrypoint.Words) {
	w.String(&j.Kernel, &j.Self, &j.Root, &j.MemDir, &j.LayerDir, &j.Emulator, &j.Helper, &j.Mode, &j.Arch, &j.Net, &j.Hostname, &j.Dir)
	for _, list := range []*[]string{&j.Libs, &j.KernelArgs, &j.Binds, &j.Modules, &j.HelperLibs, &j.Argv, &j.Env} {
		w.Strings(list)
	}
	entrypoint.Number(w, &j.Mem, &j.NoSuid, &j.Umask, &j.TTY, &j.Rows, &j.Cols)
}
