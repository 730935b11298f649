package twin

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"

	"binproxy/emu/arch"
)

// Owner is the package that a file came with.
type Owner struct{ Package, Version string }

// Owners finds the packages of files on this host, by its package database. What none brought is
// left out.
func Owners(root Root, files []string) (map[string]Owner, error) {
	owners := map[string]Owner{}
	database := DatabaseOf(root)
	if database == dpkg {
		return dpkgOwners(root, files)
	}
	for _, file := range files {
		if o, err := ask(root, database, file, nil, arch.Host()); err == nil {
			owners[file] = Owner{o.pkg, o.version}
		}
	}
	return owners, nil
}

// dpkgOwners reads each package's list once.
func dpkgOwners(root Root, files []string) (map[string]Owner, error) {
	want := map[string]string{}
	for _, file := range files {
		for _, name := range aliases(file) {
			want[name] = file
		}
	}
	lists, err := filepath.Glob(dpkgDir + "info/*.list")
	if err != nil {
		return nil, err
	}
	owners := map[string]Owner{}
	for _, list := range lists {
		f, err := os.Open(list)
		if err != nil {
			return nil, err
		}
		name, _, _ := strings.Cut(strings.TrimSuffix(filepath.Base(list), ".list"), ":")
		for lines := bufio.NewScanner(f); lines.Scan(); {
			file, ok := want[lines.Text()]
			if !ok {
				continue
			}
			if version, err := dpkgVersion(root, name, arch.Host().Debian); err == nil {
				owners[file] = Owner{name, version}
			}
		}
		f.Close()
	}
	return owners, nil
}
