package twin

import (
	"bufio"
	"crypto/md5"
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"binproxy/emu/arch"
)

// Root shows the files of a root directory as seen from within: an absolute symbolic link stays in
// it.
type Root interface {
	Open(name string) (*os.File, error)
}

// The package databases.
const (
	dpkg = "dpkg"
	apk  = "apk"
	rpm  = "rpm"
)

// The places of the databases. apk's moved with its version 3.
const dpkgDir = "/var/lib/dpkg/"

var (
	apkFiles = [...]string{"/lib/apk/db/installed", "/usr/lib/apk/db/installed"}
	rpmFiles = [...]string{"/usr/lib/sysimage/rpm/rpmdb.sqlite", "/var/lib/rpm/rpmdb.sqlite"}
)

// owned is what a database says of a file.
type owned struct {
	database, pkg, version string
	// what the checksum is made with; nil where the database has none
	sum  hash.Hash
	want string // the checksum
}

// errUnknown tells that no database knows a file.
var errUnknown = errors.New("the guest's package database does not know it")

// DatabaseOf is the kind of package database that a root has, "" for none that is known.
func DatabaseOf(root Root) string {
	for _, d := range []struct {
		kind  string
		files []string
	}{{dpkg, []string{dpkgDir + "status"}}, {apk, apkFiles[:]}, {rpm, rpmFiles[:]}} {
		for _, name := range d.files {
			if f, err := root.Open(name); err == nil {
				f.Close()
				return d.kind
			}
		}
	}
	return ""
}

// ask finds the package, one of those named, that brought the file.
func ask(root Root, database, file string, packages []string, abi *arch.ABI) (owned, error) {
	switch database {
	case dpkg:
		return askDpkg(root, file, packages, abi)
	case apk:
		return askApk(root, file, packages)
	case rpm:
		return askRpm(root, file, packages)
	}
	return owned{}, errUnknown
}

// askDpkg reads the lists of the packages, and the status file for the version of the one that has
// the file.
func askDpkg(root Root, file string, packages []string, abi *arch.ABI) (owned, error) {
	for _, name := range packages {
		for _, entry := range []string{name, name + ":" + abi.Debian} {
			inList, ok := firstLine(root, dpkgDir+"info/"+entry+".list", func(line string) bool { return isOneOf(line, aliases(file)) })
			if !ok {
				continue
			}
			version, err := dpkgVersion(root, name, abi.Debian)
			if err != nil {
				// which has it unpacked by dpkg, whose status tells at the end of that
				version = debootstrapVersion(root, name)
			}
			if version == "" {
				return owned{}, errUnknown
			}
			o := owned{database: dpkg, pkg: name, version: version}
			sum, ok := firstLine(root, dpkgDir+"info/"+entry+".md5sums", func(line string) bool {
				return strings.HasSuffix(line, "  "+inList[1:])
			})
			if ok {
				o.sum, o.want = md5.New(), sum[:strings.IndexByte(sum, ' ')]
			}
			return o, nil
		}
	}
	return askDebootstrap(root, packages)
}

// askDebootstrap finds the package among those that debootstrap's first stage has unpacked, and
// dpkg does not know yet: lines of a package's name and its archive's path,
// .../NAME_VERSION_ARCH.deb with %3a for a colon.
func askDebootstrap(root Root, packages []string) (owned, error) {
	for _, name := range packages {
		if _, listed := firstLine(root, dpkgDir+"info/"+name+".list", func(string) bool { return true }); listed {
			continue // dpkg knows it, and that the file is not in it
		}
		if version := debootstrapVersion(root, name); version != "" {
			return owned{database: dpkg, pkg: name, version: version}, nil
		}
	}
	return owned{}, errUnknown
}

// debootstrapVersion is the version of a package in debootstrap's list, "" where there is no such
// list.
func debootstrapVersion(root Root, name string) string {
	line, ok := firstLine(root, "/debootstrap/debpaths", func(line string) bool { return strings.HasPrefix(line, name+" ") })
	if parts := strings.Split(path.Base(line), "_"); ok && len(parts) == 3 {
		return strings.ReplaceAll(parts[1], "%3a", ":")
	}
	return ""
}

// dpkgVersion is the version of a package whose files are there: by the status file, and by the
// journal that dpkg keeps beside it while it works, a file for each change, before it writes the
// status file anew (deb-internals of dpkg: lib/dpkg/dbmodify.c).
func dpkgVersion(root Root, name, port string) (string, error) {
	version := ""
	for _, file := range append([]string{"status"}, journal(root)...) {
		f, err := root.Open(dpkgDir + file)
		if err != nil {
			continue // dpkg is done with it
		}
		if v, ok := stanzaVersion(f, name, port); ok {
			version = v
		}
		f.Close()
	}
	if version == "" {
		return "", errUnknown
	}
	return version, nil
}

// journal lists dpkg's, in order.
func journal(root Root) []string {
	dir, err := root.Open(dpkgDir + "updates")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	names = slices.DeleteFunc(names, func(name string) bool { return strings.Trim(name, "0123456789") != "" })
	slices.Sort(names)
	for i := range names {
		names[i] = "updates/" + names[i]
	}
	return names
}

// stanzaVersion reads a package's version from stanzas like those of the status file; "" where one
// says that it is not there.
func stanzaVersion(r io.Reader, name, port string) (version string, found bool) {
	var inside, gone, foreign bool
	end := func() (string, bool) {
		if gone {
			version = ""
		}
		return version, inside && !foreign && (gone || version != "")
	}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, "Package: "):
			inside, gone, foreign, version = line[len("Package: "):] == name, false, false, ""
		case !inside:
		case line == "":
			if version, found := end(); found {
				return version, found
			}
		case strings.HasPrefix(line, "Status: "):
			state := line[strings.LastIndexByte(line, ' ')+1:]
			// the last: old files or new ones
			gone = isOneOf(state, []string{"not-installed", "config-files", "half-installed"})
		case strings.HasPrefix(line, "Architecture: "):
			foreign = !isOneOf(line[len("Architecture: "):], []string{port, "all"})
		case strings.HasPrefix(line, "Version: "):
			version = line[len("Version: "):]
		}
	}
	return end()
}

// askApk reads the one file that apk keeps: a block for each package, with P: its name, V: its
// version, F: a directory, R: a file in it, and Z: that file's SHA-1 in base64 behind "Q1".
func askApk(root Root, file string, packages []string) (owned, error) {
	for _, database := range apkFiles {
		f, err := root.Open(database)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return owned{}, errUnknown
		}
		defer f.Close()
		return readApk(f, file, packages)
	}
	return owned{}, errUnknown
}

func readApk(r io.Reader, file string, packages []string) (owned, error) {
	var o owned
	var dir string
	var wanted, here bool
	names := aliases(file)
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		key, value, ok := strings.Cut(lines.Text(), ":")
		if here && (!ok || key == "R" || key == "F") {
			return o, nil // without a checksum
		}
		switch key {
		case "":
			wanted = false
		case "P":
			o, wanted = owned{database: apk, pkg: value}, packages == nil || isOneOf(value, packages)
		case "V":
			o.version = value
		case "F":
			dir = "/" + value + "/"
		case "R":
			here = wanted && isOneOf(dir+value, names)
		case "Z":
			if b, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(value, "Q1")); here && err == nil {
				o.sum, o.want = sha1.New(), hex.EncodeToString(b)
			}
			if here {
				return o, nil
			}
		}
	}
	if here {
		return o, nil
	}
	return owned{}, errUnknown
}

// genuine tells whether the file is the one that the package brought, where the database can tell.
func (o owned) genuine(r io.Reader) bool {
	if o.sum == nil {
		return true
	}
	o.sum.Reset()
	if _, err := io.Copy(o.sum, r); err != nil {
		return false
	}
	return hex.EncodeToString(o.sum.Sum(nil)) == o.want
}

// firstLine finds the first line of a file for which a function is true.
func firstLine(root Root, name string, is func(string) bool) (string, bool) {
	f, err := root.Open(name)
	if err != nil {
		return "", false
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if is(lines.Text()) {
			return lines.Text(), true
		}
	}
	return "", false
}

func isOneOf(text string, list []string) bool {
	for _, one := range list {
		if text == one {
			return true
		}
	}
	return false
}

// Vendor is the ID of a root's os-release: debian, ubuntu, alpine, fedora; "" where it has none.
func Vendor(root Root) string {
	for _, name := range []string{"/etc/os-release", "/usr/lib/os-release"} {
		if line, ok := firstLine(root, name, func(line string) bool { return strings.HasPrefix(line, "ID=") }); ok {
			return strings.Trim(line[len("ID="):], `"'`)
		}
	}
	return ""
}
