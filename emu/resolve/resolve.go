// Package resolve answers one question, and changes nothing: which exec must happen when a program
// calls execve on a file?
//
// It follows the kernel (fs/exec.c, fs/binfmt_script.c): the file is looked up as the caller sees
// it, `#!` lines lead on to their interpreter, at most five deep, and the ELF header that ends the
// chain says whose program it is. A host-native program is left to the kernel, a guest's goes to
// its emulator; what cannot be run is the errno that the kernel would give. How files are looked
// up is the caller's business (FS): a farm's shim reads its own root, a supervisor the root of its
// tracee.
package resolve

import (
	"syscall"

	"binproxy/emu/arch"
	"binproxy/emu/elfinfo"
)

// HeadSize is how much of a file the kernel looks at (BINPRM_BUF_SIZE), and so how much an FS has
// to read.
const HeadSize = 256

// maxScripts is how deep `#!` may nest: the fifth interpreter may not be a script itself.
const maxScripts = 5

// FS shows files as the caller of execve sees them.
type FS interface {
	// Open finds the file that execve of path would load, and checks what the kernel checks before
	// it reads the file. Its errno is ENOENT, EACCES, ELOOP, ENOTDIR, ENAMETOOLONG or the like.
	Open(path string) (File, syscall.Errno)
}

// File is a file that may be executed.
type File struct {
	Path string // the path by which the emulator can open it
	Name string // its name for a script's interpreter; "" for the path that led here
	Head []byte // its first HeadSize bytes, fewer if it has fewer
}

// Request is one execve. Only argv[0] matters here; the other arguments do not change.
type Request struct {
	Path   string // as the caller gave it
	Argv0  string
	NoArgv bool // argv was empty, without even an argv[0]

	Twin func(Plan) *Twin // finds the twin for a guest's plan; nil for none
}

// Plan is the exec that must happen. The new argument vector is Prefix followed by the caller's
// argv[1:].
type Plan struct {
	ABI  *arch.ABI // the guest's; nil for a host-native program
	File File      // the ELF file that ends the chain
	// the guest's argv up to the caller's argv[1]; [0] is the guest's argv[0]
	Prefix []string
	Script bool  // reached through a #! line
	Twin   *Twin // stands in for the guest's program; nil for its emulator
}

// Native means that the kernel runs the file itself.
func (p Plan) Native() bool { return p.ABI == nil }

// Resolver holds what does not change from one exec to the next.
type Resolver struct {
	// Guest reports whether programs of the ABI go to an emulator. Others are left to the kernel.
	Guest func(*arch.ABI) bool
}

// Resolve finds the plan for a request. The errno is the one that execve must return.
func (r Resolver) Resolve(fs FS, req Request) (Plan, syscall.Errno) {
	plan := Plan{Prefix: []string{req.Argv0}}
	path := req.Path
	for depth := 0; ; depth++ {
		file, errno := fs.Open(path)
		if errno != 0 {
			return Plan{}, errno
		}
		script, ok, errno := ParseScript(file.Head)
		if errno != 0 {
			return Plan{}, errno
		}
		if !ok {
			plan.File = file
			plan.ABI, errno = r.classify(file.Head)
			if plan.ABI != nil && req.Twin != nil {
				plan.Twin = req.Twin(plan)
			}
			return plan, errno
		}
		if script.Interpreter == "" {
			// the kernel opens the empty name, which is its working directory
			return Plan{}, syscall.EACCES
		}
		if depth == maxScripts {
			return Plan{}, tooDeep(fs, script)
		}
		name := path
		if file.Name != "" {
			name = file.Name
		}
		plan.Script = true
		plan.Prefix = script.prefix(name, plan.Prefix[1:])
		path = script.Interpreter
	}
}

// tooDeep is ELOOP, unless the interpreter cannot be opened: the kernel opens it before it counts.
func tooDeep(fs FS, script Script) syscall.Errno {
	if _, errno := fs.Open(script.Interpreter); errno != 0 {
		return errno
	}
	return syscall.ELOOP
}

// classify finds whose program an ELF file is: nil for the kernel's own. A file that is not ELF,
// or that neither the kernel nor an emulator takes, is left to the kernel, too: its answer
// (ENOEXEC, or a binfmt_misc entry of the host's) then stands.
func (r Resolver) classify(head []byte) (*arch.ABI, syscall.Errno) {
	info, err := elfinfo.Header(head)
	if err != nil || !info.Executable() {
		return nil, 0
	}
	abi := info.ABI()
	if abi == nil || !r.Guest(abi) {
		return nil, 0
	}
	return abi, 0
}
