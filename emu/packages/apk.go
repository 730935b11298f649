package packages

import (
	"bufio"
	"encoding/base64"
	"encoding/hex"
	"io"
	"slices"
	"strings"

	"binproxy/third_party/hash/sha1"
)

// The places of apk's database, which moved with its version 3.
var apkFiles = [...]string{"/lib/apk/db/installed", "/usr/lib/apk/db/installed"}

func (s *search) apk(root Root) error {
	f, name, err := openFirst(root, apkFiles[:])
	if err != nil {
		return unreadable(name, err)
	}
	defer f.Close()
	if err := s.readApk(f); err != nil {
		return unreadable(name, err)
	}
	return nil
}

// readApk reads apk's only file: a block for each package, with P: its name, V: its version, F: a
// directory, R: a file in it, and Z: that file's SHA-1 in base64 after "Q1".
func (s *search) readApk(r io.Reader) error {
	var o Owner
	var dir, file string // file: the one in question, if the last R was one
	wanted := false
	end := func() {
		if file != "" {
			s.found[file] = o
		}
		file, o.sum, o.want = "", nil, ""
	}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), ":")
		if key != "Z" && key != "a" {
			if end(); s.done() {
				return nil
			}
		}
		switch key {
		case "":
			wanted = false
		case "P":
			o, wanted = Owner{Package: value}, s.names == nil || slices.Contains(s.names, value)
		case "V":
			o.Version = value
		case "F":
			dir = "/" + value + "/"
		case "R":
			if wanted {
				file = s.files[dir+value]
			}
		case "Z":
			if b, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(value, "Q1")); err == nil {
				o.sum, o.want = sha1.New(), hex.EncodeToString(b)
			}
		}
	}
	end()
	return lines.Err()
}
