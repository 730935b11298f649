package resolve

import (
	"bytes"
	"syscall"
)

// Script is a `#!` line.
type Script struct {
	Interpreter string
	Arg         string // the one optional argument, unsplit
	HasArg      bool   // an argument may be there and empty
}

// ParseScript reads the `#!` line from the first HeadSize bytes of a file, step by step as
// load_script of fs/binfmt_script.c does. ok is false where the file is no script. The errno is
// ENOEXEC for a line without an interpreter, and for one whose interpreter the end of the buffer
// may have cut.
func ParseScript(head []byte) (s Script, ok bool, errno syscall.Errno) {
	if len(head) < 2 || head[0] != '#' || head[1] != '!' {
		return Script{}, false, 0
	}
	var buf [HeadSize]byte // zero-filled behind a short file, as the kernel's
	copy(buf[:], head)
	const last = HeadSize - 1
	end := newline(buf[:])
	if end < 0 {
		// The file ends, or a NUL or the buffer's end comes before a newline. That is fine if the
		// interpreter surely ends before it.
		name := nonBlank(buf[:], 2, last)
		if name < 0 || terminator(buf[:], name, last) < 0 {
			return Script{}, false, syscall.ENOEXEC
		}
		end = last
	}
	for blank(buf[end-1]) {
		end--
	}
	name := nonBlank(buf[:], 2, end)
	if name < 0 || name == end {
		return Script{}, false, syscall.ENOEXEC
	}
	separator := terminator(buf[:], name, end)
	buf[end] = 0
	if separator >= 0 && separator < end && buf[separator] != 0 {
		arg := nonBlank(buf[:], separator, end)
		buf[separator] = 0
		if arg >= 0 {
			s.Arg, s.HasArg = text(buf[arg:]), true
		}
	}
	s.Interpreter = text(buf[name:])
	return s, true, 0
}

func blank(c byte) bool { return c == ' ' || c == '\t' }

// newline finds the end of the first line; a NUL before it hides it.
func newline(buf []byte) int {
	i := bytes.IndexAny(buf, "\n\x00")
	if i < 0 || buf[i] == 0 {
		return -1
	}
	return i
}

// nonBlank finds the first byte of buf[from..to] that is neither a space nor a tab, -1 where there
// is none.
func nonBlank(buf []byte, from, to int) int {
	for i := from; i <= to; i++ {
		if !blank(buf[i]) {
			return i
		}
	}
	return -1
}

// terminator finds the first space, tab or NUL of buf[from..to], -1 where there is none.
func terminator(buf []byte, from, to int) int {
	for i := from; i <= to; i++ {
		if blank(buf[i]) || buf[i] == 0 {
			return i
		}
	}
	return -1
}

// text is the C string at the start of buf.
func text(buf []byte) string {
	if nul := bytes.IndexByte(buf, 0); nul >= 0 {
		buf = buf[:nul]
	}
	return string(buf)
}

// prefix is the interpreter's argument vector: its own path, the argument, the script's name, the
// rest.
func (s Script) prefix(script string, rest []string) []string {
	argv := []string{s.Interpreter}
	if s.HasArg {
		argv = append(argv, s.Arg)
	}
	return append(append(argv, script), rest...)
}
