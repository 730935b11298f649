package identity

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"strings"
)

// File is one of the kernel's files that show the identity. Text is its whole new content.
type File struct {
	Path string
	Text func() ([]byte, error)
}

// Files lists the files that show the fields that are set. read gives a file of the running kernel
// as it is; a file that the kernel does not have is left out, even for a field that is set.
func (i Identity) Files(read func(path string) ([]byte, error)) []File {
	var list []File
	add := func(path string, text func(truth []byte) ([]byte, error)) {
		list = append(list, File{path, func() ([]byte, error) {
			truth, err := read(path)
			if err != nil {
				return nil, err
			}
			return text(truth)
		}})
	}
	line := func(path, value string) {
		if value != "" {
			add(path, func([]byte) ([]byte, error) { return []byte(value + "\n"), nil })
		}
	}
	line("/proc/sys/kernel/ostype", i.Sysname)
	line("/proc/sys/kernel/hostname", i.Nodename)
	line("/proc/sys/kernel/osrelease", i.Release)
	line("/proc/sys/kernel/version", i.Version)
	line("/proc/sys/kernel/arch", i.Machine)
	if i.Sysname != "" || i.Release != "" || i.Version != "" {
		add("/proc/version", i.banner)
	}
	if i.Release != "" {
		line("/proc/version_signature", i.signature())
		add("/sys/kernel/notes", i.notes)
		add("/proc/config.gz", i.kernelConfig)
	}
	return list
}

// banner is /proc/version: "SYSNAME version RELEASE (who built it) (with what) VERSION"
// (linux/init/version.c). The two parts in parentheses are not fields of uname(2), and stay.
func (i Identity) banner(truth []byte) ([]byte, error) {
	kernel, err := Kernel()
	if err != nil {
		return nil, err
	}
	return i.bannerOf(string(truth), kernel), nil
}

func (i Identity) bannerOf(truth string, kernel Identity) []byte {
	builder, known := strings.CutPrefix(truth, kernel.Sysname+" version "+kernel.Release+" ")
	builder, ends := strings.CutSuffix(builder, kernel.Version+"\n")
	if !known || !ends {
		builder = "" // no known kernel writes it like this
	}
	i = i.Over(kernel)
	return fmt.Appendf(nil, "%s version %s %s%s\n", i.Sysname, i.Release, builder, i.Version)
}

// signature is Ubuntu's /proc/version_signature: the release, then the version that it was made
// from (which libbpf and libuv read).
func (i Identity) signature() string {
	n, ok := numbers(i.Release)
	if !ok {
		return "Ubuntu " + i.Release
	}
	return fmt.Sprintf("Ubuntu %s %d.%d.%d", i.Release, n[0], n[1], n[2])
}

func (i Identity) notes(truth []byte) ([]byte, error) {
	RewriteNotes(truth, i.Release)
	return truth, nil
}

// The lines of a kernel's configuration that show its release.
const (
	configTitle = " Kernel Configuration"
	configSalt  = "CONFIG_BUILD_SALT="
)

// kernelConfig is /proc/config.gz. The options stay true; only the kernel's own release changes.
// The file is not compressed again, which its format (RFC 1952) allows.
func (i Identity) kernelConfig(truth []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(truth))
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(z)
	if err != nil {
		return nil, err
	}
	return stored(i.configText(text)), nil
}

// stored is a gzip file (RFC 1952) whose blocks are not compressed (RFC 1951, 3.2.4). The writer
// of compress/gzip would do the same, with a whole compressor in every image.
func stored(text []byte) []byte {
	const most = 0xffff // bytes in a block
	// By deflate; without a name, without a time, of no system.
	gz := []byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff")
	for rest, last := text, byte(0); last == 0; {
		n := min(len(rest), most)
		if n == len(rest) {
			last = 1
		}
		gz = append(gz, last)
		gz = binary.LittleEndian.AppendUint16(gz, uint16(n))
		gz = binary.LittleEndian.AppendUint16(gz, ^uint16(n))
		gz = append(gz, rest[:n]...)
		rest = rest[n:]
	}
	gz = binary.LittleEndian.AppendUint32(gz, crc32.ChecksumIEEE(text))
	return binary.LittleEndian.AppendUint32(gz, uint32(len(text)))
}

func (i Identity) configText(text []byte) []byte {
	out := make([]byte, 0, len(text)+MaxField)
	for line := range bytes.Lines(text) {
		switch {
		case bytes.HasPrefix(line, []byte("# ")) && bytes.HasSuffix(line, []byte(configTitle+"\n")):
			// "# Linux/x86 6.1.0 Kernel Configuration"
			name, _, _ := strings.Cut(string(line[2:]), " ")
			line = fmt.Appendf(nil, "# %s %s%s\n", name, i.Release, configTitle)
		case bytes.HasPrefix(line, []byte(configSalt)) && !bytes.Equal(line, []byte(configSalt+"\"\"\n")):
			line = []byte(configSalt + strconv.Quote(i.Release) + "\n")
		}
		out = append(out, line...)
	}
	return out
}
