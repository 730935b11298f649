// Command sources prints the uname identity from every source that shows it: lines of field, way
// and value, with tabs between them. It leaves out ways that the machine does not have.
package main

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

var fields = [...]string{"sysname", "nodename", "release", "version", "machine"}

func say(field, way, value string) {
	fmt.Printf("%s\t%s\t%s\n", field, way, strings.TrimSuffix(value, "\n"))
}

// structure prints the fields of a struct utsname, each of size bytes, and reports one with bytes
// after its NUL.
func structure(way string, b []byte, size int) {
	for i, name := range fields {
		text, rest, _ := bytes.Cut(b[i*size:(i+1)*size], []byte{0})
		value := string(text)
		if len(bytes.Trim(rest, "\x00")) > 0 {
			value += fmt.Sprintf(" and behind it %q", rest)
		}
		say(name, way, value)
	}
}

func main() {
	for _, u := range unames {
		b := make([]byte, 6*65)
		if u.call(b) == nil {
			structure(u.name, b, u.size)
		}
	}
	for _, f := range [][2]string{{"sysname", "ostype"}, {"nodename", "hostname"}, {"release", "osrelease"}, {"version", "version"}, {"machine", "arch"}} {
		file(f[0], "/proc/sys/kernel/"+f[1])
	}
	file("banner", "/proc/version")
	file("signature", "/proc/version_signature")
	link, err := os.MkdirTemp("", "sources")
	check(err)
	defer os.RemoveAll(link)
	for _, f := range [][2]string{{"release", "/proc/sys/kernel/osrelease"}, {"banner", "/proc/version"}} {
		ways(f[0], f[1], link)
	}
	vdso()
	if b, err := os.ReadFile("/sys/kernel/notes"); err == nil {
		notes("/sys/kernel/notes", b)
	}
	config()
}

func check(err error) {
	if err != nil {
		fmt.Println("sources:", err)
		os.Exit(1)
	}
}

func file(field, path string) {
	if b, err := os.ReadFile(path); err == nil {
		say(field, path, string(b))
	}
}

// ways opens a file in every possible way.
func ways(field, path, dir string) {
	base := filepath.Base(path)
	parent, err := unix.Open(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY, 0)
	check(err)
	defer unix.Close(parent)
	link, deep := filepath.Join(dir, base), filepath.Join(dir, base+".d")
	check(os.Symlink(path, link))
	check(os.Symlink(filepath.Dir(path), deep))
	check(os.Symlink(filepath.Base(link), link+".2"))
	at := func(dir int, path string, flags int) func() (int, error) {
		return func() (int, error) { return unix.Openat(dir, path, flags, 0) }
	}
	here := unix.AT_FDCWD
	for _, w := range []struct {
		way  string
		open func() (int, error)
	}{
		{"plain", at(here, path, unix.O_RDONLY)},
		{"close-on-exec", at(here, path, unix.O_RDONLY|unix.O_CLOEXEC)},
		{"flags", at(here, path, unix.O_RDONLY|unix.O_NOCTTY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_LARGEFILE)},
		{"dirfd", at(parent, base, unix.O_RDONLY)},
		{"dirfd and dots", at(parent, "./../"+filepath.Base(filepath.Dir(path))+"/"+base, unix.O_RDONLY)},
		{"link", at(here, link, unix.O_RDONLY)},
		{"link to a link", at(here, link+".2", unix.O_RDONLY)},
		{"link to the directory", at(here, deep+"/"+base, unix.O_RDONLY)},
		{"slashes", at(here, strings.ReplaceAll(path, "/", "//"), unix.O_RDONLY)},
		{"/proc/self/root", at(here, "/proc/self/root"+path, unix.O_RDONLY)},
		{"/proc/thread-self/root", at(here, "/proc/thread-self/root"+path, unix.O_RDONLY)},
		{"/proc/self/cwd", func() (int, error) {
			check(os.Chdir(filepath.Dir(path)))
			return unix.Open("/proc/self/cwd/"+base, unix.O_RDONLY, 0)
		}},
		{"relative", at(here, base, unix.O_RDONLY)},
		{"/proc/self/fd", at(here, fmt.Sprintf("/proc/self/fd/%d/%s", parent, base), unix.O_RDONLY)},
		{"O_PATH", func() (int, error) {
			fd, err := unix.Open(path, unix.O_PATH, 0)
			check(err)
			return unix.Open("/proc/self/fd/"+strconv.Itoa(fd), unix.O_RDONLY, 0)
		}},
		{"openat2", func() (int, error) {
			return unix.Openat2(parent, base, &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_CLOEXEC})
		}},
		{"open", func() (int, error) { return open(path) }},
	} {
		fd, err := w.open()
		if err == unix.ENOSYS {
			continue
		}
		if err != nil {
			say(field, base+" by "+w.way, err.Error())
			continue
		}
		text, err := io.ReadAll(os.NewFile(uintptr(fd), w.way))
		if err != nil {
			text = []byte(err.Error())
		}
		say(field, base+" by "+w.way, string(text))
	}
}

func vdso() {
	aux, err := unix.Auxv()
	check(err)
	for _, entry := range aux {
		if entry[0] != 33 { // AT_SYSINFO_EHDR
			continue
		}
		mem, err := os.Open("/proc/self/mem")
		check(err)
		b := make([]byte, 4096)
		_, err = mem.ReadAt(b, int64(entry[1]))
		check(err)
		le := binary.LittleEndian
		table, size, count, offset, length := int(le.Uint64(b[32:])), int(le.Uint16(b[54:])), int(le.Uint16(b[56:])), 8, 32
		if b[4] == 1 {
			table, size, count, offset, length = int(le.Uint32(b[28:])), int(le.Uint16(b[42:])), int(le.Uint16(b[44:])), 4, 16
		}
		for i := range count {
			p := b[table+i*size:]
			if le.Uint32(p) == 4 { // PT_NOTE
				at := int(le.Uint32(p[offset:]))
				notes("vdso", b[at:at+int(le.Uint32(p[length:]))])
			}
		}
	}
}

func notes(way string, b []byte) {
	for len(b) >= 12 {
		word := func(i int) int { return int(binary.LittleEndian.Uint32(b[4*i:])) }
		owner := 12 + (word(0)+3)&^3
		desc := b[owner : owner+word(1)]
		if string(b[12:18]) == "Linux\x00" {
			switch word(2) {
			case 0:
				code := binary.LittleEndian.Uint32(desc)
				say("code", way, fmt.Sprintf("%d.%d.%d", code>>16, code>>8&255, code&255))
			case 0x100:
				text, _, _ := bytes.Cut(desc, []byte{0})
				say("salt", way, string(text))
			}
		}
		b = b[min(owner+(word(1)+3)&^3, len(b)):]
	}
}

func config() {
	f, err := os.Open("/proc/config.gz")
	if err != nil {
		return
	}
	z, err := gzip.NewReader(f)
	check(err)
	text, err := io.ReadAll(z)
	check(err)
	lines := strings.Split(string(text), "\n")
	say("config", "/proc/config.gz", lines[2])
	say("options", "/proc/config.gz", strconv.Itoa(strings.Count(string(text), "=y\n")))
}
