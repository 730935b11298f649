package check

import (
	"bytes"
	"encoding/binary"
	"path"
	"strconv"
	"strings"
)

// goMagic starts the block that Go's linker writes for `go version`: in the writable data, at a
// multiple of 16 bytes.
const goMagic = "\xff Go buildinf:"

// goVersion reads the release of Go that built a program; "" for another program.
func (f *elfFile) goVersion() string {
	version := ""
	f.each(writable, func(b []byte) bool {
		for at := 0; version == ""; at += 16 {
			i := bytes.Index(b[at:], []byte(goMagic))
			if i < 0 {
				break
			}
			if at += i; at%16 != 0 {
				at &^= 15
				continue
			}
			version = parseBuildInfo(b[at:])
		}
		return version == ""
	})
	return version
}

// parseBuildInfo reads the version after the magic. Since Go 1.18 the block contains the strings;
// before, it had pointers to them.
func parseBuildInfo(b []byte) string {
	const flags, header, inline = 15, 32, 2
	if len(b) < header+binary.MaxVarintLen64 {
		return ""
	}
	if b[flags]&inline == 0 {
		return "go1.17"
	}
	length, n := binary.Uvarint(b[header:])
	if n <= 0 || length > 64 || header+n+int(length) > len(b) {
		return ""
	}
	version := string(b[header+n : header+n+int(length)])
	if !strings.HasPrefix(version, "go1.") {
		return ""
	}
	return version
}

// Libc is the C library of an image; the zero Libc if it is unknown.
type Libc struct {
	name    string // glibc or musl
	version string // as in 2.31
}

func (l Libc) String() string { return strings.TrimSpace(l.name + " " + l.version) }

// libcOf recognizes a C library by its file name and its text; the zero Libc for another file.
func (f *elfFile) libcOf(name string) Libc {
	base := path.Base(name)
	switch {
	case base == "libc.so.6" || strings.HasPrefix(base, "libc-2."):
		return Libc{"glibc", f.glibcVersion()}
	case strings.HasPrefix(base, "ld-musl-") || strings.HasPrefix(base, "libc.musl-") || base == "libc.so":
		return f.musl()
	}
	return Libc{}
}

// glibcVersion reads the line that glibc prints when it is run as a program.
func (f *elfFile) glibcVersion() string {
	version := ""
	f.each(anySegment, func(b []byte) bool {
		if i := bytes.Index(b, []byte("GNU C Library ")); i >= 0 {
			line := b[i:min(len(b), i+200)]
			if _, behind, ok := bytes.Cut(line, []byte("release version ")); ok {
				version = leadingVersion(string(behind))
			}
		}
		return version == ""
	})
	return version
}

// musl recognizes musl, which is libc.so and loader in one, by the text that it prints when it is
// run as a program. Its version is a separate string, the only one there that is just three
// numbers.
func (f *elfFile) musl() Libc {
	said, versions := false, map[string]bool{}
	f.each(anySegment, func(b []byte) bool {
		said = said || bytes.Contains(b, []byte("musl libc ("))
		texts := bytes.Split(b, []byte{0})
		// the first and the last text of a piece may be cut
		for _, text := range texts[1:max(1, len(texts)-1)] {
			if len(versions) < 2 && len(text) < 12 && bytes.Count(text, []byte(".")) == 2 && leadingVersion(string(text)) == string(text) {
				versions[string(text)] = true
			}
		}
		return true
	})
	switch {
	case !said:
		return Libc{}
	case len(versions) != 1:
		return Libc{"musl", ""}
	}
	for version := range versions {
		return Libc{"musl", version}
	}
	return Libc{}
}

// leadingVersion is the digits and dots that a text starts with, without a dot at its end.
func leadingVersion(s string) string {
	n := 0
	for n < len(s) && (s[n] == '.' || s[n] >= '0' && s[n] <= '9') {
		n++
	}
	return strings.TrimRight(s[:n], ".")
}

// less compares versions number by number.
func less(a, b string) bool {
	for a != "" || b != "" {
		var x, y string
		x, a, _ = strings.Cut(a, ".")
		y, b, _ = strings.Cut(b, ".")
		n, _ := strconv.Atoi(x)
		m, _ := strconv.Atoi(y)
		if n != m {
			return n < m
		}
	}
	return false
}
