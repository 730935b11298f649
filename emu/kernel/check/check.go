// Package check reports whether programs fit a kernel, without running anything.
//
// It reads every ELF file of a program, a root directory or an image (source.go, layers.go),
// records what each needs (elf.go, marks.go, scan.go), and compares that with what the kernel has
// (needs.go). Needs are: the note that glibc's loader compares with the release, the kernel that
// Go's runtime requires, the calls that imported libc functions make, and the calls with constant
// numbers in static code. Nothing in a file is trusted: every offset, count and length is checked
// against a bound before it is used.
package check

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"binproxy/emu/elfinfo"
	"binproxy/emu/kernel"
)

// Sure is the basis of a finding.
type Sure string

// The bases of findings, the surest first.
const (
	Note   Sure = "note"   // the file itself states it: an ELF note, Go's build info
	Known  Sure = "known"  // a case from practice
	Import Sure = "import" // it imports a libc function that makes the call
	Code   Sure = "code"   // the call's number comes before a call instruction
)

// Kind is what happens if the kernel lacks what is needed.
type Kind string

// What happens if a need is not met.
const (
	Hard     Kind = "hard"     // it fails
	Soft     Kind = "soft"     // it goes on by other means
	Poisoned Kind = "poisoned" // it would go on after ENOSYS, but a filter answers EPERM
	Unknown  Kind = "unknown"  // the file does not show it
)

// Finding is one need that the kernel does not meet.
type Finding struct {
	File  string `json:"file"`
	Need  string `json:"need"`           // what is needed, in words
	Call  string `json:"call,omitempty"` // the system call, if it is one
	Since string `json:"since"`          // which mainline kernel has it
	Sure  Sure   `json:"sure"`
	Kind  Kind   `json:"kind"`
	Do    string `json:"do"` // what helps
	// the source of the kernel's side: the table, a vendor profile, the live probe
	Source string `json:"source"`
}

// Kernel is the kernel to check against. For a call, Answer gives whether the kernel has it,
// whether a filter refuses it, and how that is known.
type Kernel struct {
	Release kernel.Release
	Answer  func(kernel.Call) Answer
}

// Answer is a kernel's treatment of a call.
type Answer struct {
	Has     bool
	Refused bool
	Source  string
}

// Promised is a kernel that is known only by its release.
func Promised(r kernel.Release) Kernel {
	return Kernel{r, func(c kernel.Call) Answer {
		a := r.Has(c)
		source := "table: " + a.Source
		if a.Profile != "" {
			source = "vendor profile " + a.Profile + ": " + a.Source
		}
		return Answer{Has: a.Has, Source: source}
	}}
}

// Report is what a check found.
type Report struct {
	Files    int       `json:"files"` // ELF files that were read
	Libc     string    `json:"libc"`
	Findings []Finding `json:"findings"`
}

// Verdict is the exit status: 0 compatible, 1 not, 2 could not tell.
func (r *Report) Verdict() int {
	verdict := 0
	for _, f := range r.Findings {
		switch f.Kind {
		case Hard, Poisoned:
			return 1
		case Unknown:
			verdict = 2
		}
	}
	return verdict
}

// object is the part of an ELF file that is kept until the image's libc is known.
type object struct {
	name    string
	abi     *kernel.ABI
	static  bool
	exec    bool // a program that has an interpreter
	tag     [3]uint32
	tagged  bool
	goBuilt string
	imports []string
	numbers []uint32
	damage  string
}

// These bound what is kept of one image: its ELF files, and their imports together, by their
// number and by the number of their names.
const (
	maxObjects = 1 << 18
	maxImports = 1 << 20
	maxNames   = 1 << 17
)

// collector gathers the objects of one image.
type collector struct {
	objects   []object
	libcs     map[string]Libc                // by ABI
	functions map[string]map[string][]uint32 // by ABI and function: the calls in its code
	names     map[string]string
	kept      int // imports
}

func newCollector() *collector {
	return &collector{libcs: map[string]Libc{}, functions: map[string]map[string][]uint32{}, names: map[string]string{}}
}

// add reads a file. It skips a file that is not an ELF program or library.
func (c *collector) add(name string, r io.ReaderAt, size int64) error {
	f, err := openELF(r, size)
	if errors.Is(err, elfinfo.ErrNotELF) {
		return nil
	}
	if len(c.objects) == maxObjects {
		return fmt.Errorf("more than %d ELF files", maxObjects)
	}
	if err != nil {
		c.objects = append(c.objects, object{name: name, damage: err.Error()})
		return nil
	}
	if !f.info.Executable() {
		return nil
	}
	o, err := c.describe(name, f)
	if err != nil {
		o.damage = err.Error()
	}
	c.objects = append(c.objects, o)
	return nil
}

func (c *collector) describe(name string, f *elfFile) (object, error) {
	o := object{name: name, abi: kernel.Of(f.info.ABI()), exec: f.info.Interp != "" && !isLibrary(name), static: f.info.Static() && !isLibrary(name) && !f.hasSymbols()}
	var err error
	if o.tag, o.tagged, err = f.abiTag(); err != nil {
		return o, err
	}
	o.goBuilt = f.goVersion()
	if l := f.libcOf(name); l.name != "" && o.abi != nil {
		c.libcs[o.abi.Name] = l
		if c.functions[o.abi.Name], err = f.functions(); err != nil {
			return o, err
		}
	}
	if o.static {
		o.numbers, err = f.numbers()
		return o, err
	}
	o.imports, err = c.imports(f)
	return o, err
}

// imports lists what an object takes from others. All objects share one copy of a name.
func (c *collector) imports(f *elfFile) ([]string, error) {
	var list []string
	full := false
	undefined := func(s symbol) bool { return s.undefined }
	err := f.symbols(undefined, func(s symbol) bool {
		if !interesting(s.name) {
			return true
		}
		name, ok := c.names[string(s.name)]
		if full = c.kept == maxImports || !ok && len(c.names) == maxNames; full {
			return false
		}
		if !ok {
			name = string(s.name)
			c.names[name] = name
		}
		list = append(list, name)
		c.kept++
		return true
	})
	if full {
		err = fmt.Errorf("with the files before it, it imports more than %d functions, or %d names of them", maxImports, maxNames)
	}
	slices.Sort(list)
	return slices.Compact(list), err
}

// isLibrary goes by the name, since libraries may have an interpreter too, so that they can be run
// (Qt's and glibc's print who they are).
func isLibrary(name string) bool { return strings.Contains(path.Base(name), ".so") }

// hasSymbols tells a library, which has no interpreter either, from a static program.
func (f *elfFile) hasSymbols() bool {
	return slices.ContainsFunc(f.sections, func(s section) bool { return s.kind == shtDynsym && s.bytes > 64 })
}

// interesting keeps only what a libc could offer: C++ names and a program's own symbols take room.
func interesting(name []byte) bool { return !bytes.HasPrefix(name, []byte("_Z")) && len(name) < 64 }
