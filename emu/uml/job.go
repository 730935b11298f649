package uml

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// A job is what the host side tells the jail and the guest's PID 1. It travels as text, one
// `key "value"` a line, so that any byte can be in a word; arguments on a kernel's command line
// cannot hold a space.
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

// jobField is one key of the text, and where its value lies: a *string, an *int, or a *[]string
// with a line for each word.
type jobField struct {
	key string
	ptr any
}

func (j *job) fields() []jobField {
	return []jobField{
		{"kernel", &j.Kernel}, {"lib", &j.Libs}, {"kernelarg", &j.KernelArgs}, {"self", &j.Self}, {"root", &j.Root},
		{"bind", &j.Binds}, {"mem", &j.Mem}, {"memdir", &j.MemDir}, {"layer", &j.LayerDir}, {"module", &j.Modules}, {"emulator", &j.Emulator},
		{"helper", &j.Helper}, {"helperlib", &j.HelperLibs},
		{"mode", &j.Mode}, {"nosuid", &j.NoSuid}, {"arch", &j.Arch}, {"net", &j.Net}, {"hostname", &j.Hostname},
		{"arg", &j.Argv}, {"env", &j.Env}, {"dir", &j.Dir}, {"umask", &j.Umask}, {"tty", &j.TTY}, {"rows", &j.Rows}, {"cols", &j.Cols},
	}
}

// marshal is the text that unmarshal reads as j.
func (j *job) marshal() []byte {
	var b bytes.Buffer
	for _, f := range j.fields() {
		switch v := f.ptr.(type) {
		case *string:
			fmt.Fprintf(&b, "%s %q\n", f.key, *v)
		case *int:
			fmt.Fprintf(&b, "%s \"%d\"\n", f.key, *v)
		case *[]string:
			for _, word := range *v {
				fmt.Fprintf(&b, "%s %q\n", f.key, word)
			}
		}
	}
	return b.Bytes()
}

// unmarshal reads the text of a job.
func (j *job) unmarshal(text string) error {
	fields := j.fields()
	for n, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		key, quoted, _ := strings.Cut(line, " ")
		value, err := strconv.Unquote(quoted)
		if err == nil {
			err = set(fields, key, value)
		}
		if err != nil {
			return fmt.Errorf("job, line %d: %q: %w", n+1, line, err)
		}
	}
	return nil
}

func set(fields []jobField, key, value string) (err error) {
	for _, f := range fields {
		if f.key != key {
			continue
		}
		switch v := f.ptr.(type) {
		case *string:
			*v = value
		case *int:
			*v, err = strconv.Atoi(value)
		case *[]string:
			*v = append(*v, value)
		}
		return err
	}
	return fmt.Errorf("unknown key")
}
