package packages

import (
	"bufio"
	"io"
	"path"
	"slices"
	"strings"

	"binproxy/emu/arch"
	"binproxy/third_party/hash/md5"
)

const dpkgDir = "/var/lib/dpkg/"

// dpkg reads every package's list.
func (s *search) dpkg(root Root, abi *arch.ABI) error {
	dir, err := root.Open(dpkgDir + "info")
	if err != nil {
		return unreadable(dpkgDir+"info", err)
	}
	defer dir.Close()
	entries, err := dir.Readdirnames(-1)
	if err != nil {
		return unreadable(dpkgDir+"info", err)
	}
	for _, list := range entries {
		entry, ok := strings.CutSuffix(list, ".list")
		if !ok {
			continue
		}
		name, _, _ := strings.Cut(entry, ":")
		FirstLine(root, dpkgDir+"info/"+list, func(line string) bool {
			if file, ok := s.files[line]; ok {
				if version, err := dpkgVersion(root, name, abi.Debian); err == nil {
					s.found[file] = Owner{Package: name, Version: version}
				}
			}
			return false
		})
	}
	return nil
}

// dpkgOwner finds the file in the lists of the packages, and the version of its package in the
// status file.
func dpkgOwner(root Root, file string, names []string, abi *arch.ABI) (Owner, error) {
	for _, name := range names {
		for _, entry := range []string{name, name + ":" + abi.Debian} {
			inList, ok := FirstLine(root, dpkgDir+"info/"+entry+".list", func(line string) bool { return slices.Contains(aliases(file), line) })
			if !ok {
				continue
			}
			version, err := dpkgVersion(root, name, abi.Debian)
			if err != nil {
				// debootstrap made dpkg unpack it; the status file has it only at the end
				version = debootstrapVersion(root, name)
			}
			if version == "" {
				return Owner{}, ErrUnknown
			}
			o := Owner{Package: name, Version: version}
			sum, ok := FirstLine(root, dpkgDir+"info/"+entry+".md5sums", func(line string) bool {
				return strings.HasSuffix(line, "  "+inList[1:])
			})
			if ok {
				o.sum, o.want = md5.New(), sum[:strings.IndexByte(sum, ' ')]
			}
			return o, nil
		}
	}
	return debootstrapOwner(root, names)
}

// debootstrapOwner finds the package among those that debootstrap's first stage has unpacked and
// dpkg does not know yet. A line has a package's name and its archive's path,
// .../NAME_VERSION_ARCH.deb with %3a for a colon.
func debootstrapOwner(root Root, names []string) (Owner, error) {
	for _, name := range names {
		if _, listed := FirstLine(root, dpkgDir+"info/"+name+".list", func(string) bool { return true }); listed {
			continue // dpkg knows it, and knows that the file is not in it
		}
		if version := debootstrapVersion(root, name); version != "" {
			return Owner{Package: name, Version: version}, nil
		}
	}
	return Owner{}, ErrUnknown
}

// debootstrapVersion is the version of a package in debootstrap's list, "" without such a list.
func debootstrapVersion(root Root, name string) string {
	line, ok := FirstLine(root, "/debootstrap/debpaths", func(line string) bool { return strings.HasPrefix(line, name+" ") })
	if parts := strings.Split(path.Base(line), "_"); ok && len(parts) == 3 {
		return strings.ReplaceAll(parts[1], "%3a", ":")
	}
	return ""
}

// dpkgVersion is the version of a package whose files are present. It reads the status file and
// the journal beside it: while dpkg works it writes a file there for each change, and only then
// writes the status file anew (deb-internals of dpkg: lib/dpkg/dbmodify.c).
func dpkgVersion(root Root, name, port string) (string, error) {
	version := ""
	for _, file := range append([]string{"status"}, journal(root)...) {
		f, err := root.Open(dpkgDir + file)
		if err != nil {
			continue // dpkg has finished with it
		}
		if v, ok := stanzaVersion(f, name, port); ok {
			version = v
		}
		f.Close()
	}
	if version == "" {
		return "", ErrUnknown
	}
	return version, nil
}

// journal lists the files of dpkg's journal, in order.
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

// stanzaVersion reads a package's version from stanzas such as the status file's; "" if a stanza
// says that the package is not present.
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
			// half-installed: files may be old or new
			gone = state == "not-installed" || state == "config-files" || state == "half-installed"
		case strings.HasPrefix(line, "Architecture: "):
			of := line[len("Architecture: "):]
			foreign = of != port && of != "all"
		case strings.HasPrefix(line, "Version: "):
			version = line[len("Version: "):]
		}
	}
	return end()
}
