package supervise

import (
	"strings"

	"golang.org/x/sys/unix"

	"binproxy/emu/arch"
	"binproxy/emu/elfinfo"
	"binproxy/emu/supervise/sight"
	"binproxy/emu/supervise/stack"
	"binproxy/emu/twin"
)

// LD_PRELOAD names libraries, and a loader prints a line about each that is of another
// architecture: every guest about the host's (`fakeroot binproxy run`), every native program about
// the guest's. So the variable has another name in the programs of the other side, which differs
// in one letter, and its own name again in those of its own.

// hidden is what the last letter of LD_PRELOAD becomes.
const hidden = 'd'

// Bounds of what is looked at: a guest may name what it likes.
const (
	maxPreloads   = 16
	maxDirs       = 32
	maxVariables  = 4096
	longVariable  = 64 << 10
	preloadLength = len("LD_PRELOAD=")
)

// preload is LD_PRELOAD, or the hidden one.
type preload struct {
	index         int // its place in the environment
	shown         bool
	native, guest bool // it names a library of this side
}

// of reports whether the variable is for a program of the side, and whether it is for the other.
func (p preload) of(native bool) (own, other bool) {
	if native {
		return p.native, p.guest && !p.native
	}
	return p.guest, p.native && !p.guest
}

// showPreloads gives each LD_PRELOAD on the stack of a new program its right name. guest is the
// ABI of the guest's programs here. Where it fails, a loader prints its line.
func (s *supervisor) showPreloads(t *task, st stack.Stack, guest *arch.ABI, native bool) {
	if !st.HasPreload(t) {
		return
	}
	v, err := s.sight.View(t.TID(), "/", unix.AT_FDCWD)
	if err != nil {
		return
	}
	defer v.Close()
	var env []string
	for _, at := range st.Envp[:min(len(st.Envp), maxVariables)] {
		entry, _ := t.ReadString(at, longVariable)
		env = append(env, entry)
	}
	for _, p := range s.preloads(v, env, guest) {
		own, other := p.of(native)
		letter := byte('D')
		if other {
			letter = hidden
		}
		if own && !p.shown || other && p.shown {
			_ = t.Write(st.Envp[p.index]+uint64(preloadLength)-2, []byte{letter})
		}
	}
}

// preloads finds LD_PRELOAD, and the hidden one, in an environment.
func (s *supervisor) preloads(v *sight.View, env []string, guest *arch.ABI) (list []preload) {
	var search string
	for _, entry := range env {
		if dirs, ok := strings.CutPrefix(entry, "LD_LIBRARY_PATH="); ok {
			search = dirs
		}
	}
	for i, entry := range env {
		if shown, ok := stack.IsPreload(entry); ok {
			p := preload{index: i, shown: shown}
			p.native, p.guest = sides(v, entry[preloadLength:], search, guest)
			p.native = p.native || !p.guest && s.isOuter(entry[preloadLength:])
			list = append(list, p)
		}
	}
	return list
}

// sides reports whether libraries that LD_PRELOAD names are the host's, and guests', where they
// can be found.
func sides(v *sight.View, value, search string, guestABI *arch.ABI) (native, guest bool) {
	files := twin.Preloaded(value)
	if len(files) > maxPreloads {
		return false, false
	}
	for _, file := range files {
		for _, path := range places(file, search, guestABI) {
			info, err := elfinfo.Header(v.Head(path))
			if abi := info.ABI(); err == nil && abi != nil {
				native, guest = native || abi.Native(arch.Host()), guest || !abi.Native(arch.Host())
			}
		}
	}
	return native, guest
}

// places are the paths where a loader may find a library that LD_PRELOAD names.
func places(file, search string, guest *arch.ABI) []string {
	switch {
	case strings.Contains(file, "$"):
		return nil
	case strings.Contains(file, "/"):
		return []string{file}
	}
	dirs := strings.FieldsFunc(search, func(r rune) bool { return r == ':' || r == ';' })
	dirs = dirs[:min(len(dirs), maxDirs)]
	for _, abi := range []*arch.ABI{guest, arch.Host()} {
		dirs = append(dirs, "/lib/"+abi.GNU, "/usr/lib/"+abi.GNU)
	}
	dirs = append(dirs, "/lib64", "/usr/lib64", "/lib", "/usr/lib")
	for i := range dirs {
		dirs[i] += "/" + file
	}
	return dirs
}

// isOuter reports whether LD_PRELOAD has the value that the command was given, and names libraries
// of the host by it, as we see it: the command's root may not have them.
func (s *supervisor) isOuter(value string) bool {
	if s.outer == nil {
		s.outer = new(string) // none, also for preloads
		if v, err := s.sight.Ahead("", ""); err == nil {
			for _, p := range s.preloads(v, s.config.Env, arch.Host()) {
				if p.native {
					*s.outer = s.config.Env[p.index][preloadLength:]
				}
			}
			v.Close()
		}
	}
	return value != "" && value == *s.outer
}

// toNative serves a guest that has executed a native program. A static one only hands its
// environment on, so what that executes is served, too.
func (s *supervisor) toNative(t *task) {
	if t.guest != nil {
		t.side = t.guest.abi
	}
	if t.side == nil {
		return
	}
	regs, err := t.Registers()
	if err != nil {
		return
	}
	st, err := stack.Read(*regs.SP(), t) // fails for a 32-bit program, whose words are shorter
	if err == nil && st.Dynamic() && !st.Secure() {
		s.showPreloads(t, st, t.side, true)
		t.side = nil
	}
}
