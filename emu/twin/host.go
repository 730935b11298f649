package twin

import (
	"errors"
	"path/filepath"
	"strings"

	"binproxy/emu/arch"
	"binproxy/emu/packages"
)

// HostFile is a program on the host that may be a twin by a rule. Path has no symbolic link in it.
type HostFile struct{ Path, Major string }

// HostPaths lists where the host may have the twin of a program, as patterns.
func (r *Rule) HostPaths(name string, abi *arch.ABI) []string { return r.hosts(name, abi) }

// OnHost finds the files that could be the twin of a program for an ABI: one for each major
// version.
func (r *Rule) OnHost(name string, abi *arch.ABI) []HostFile {
	var list []HostFile
	seen := map[string]bool{}
	for _, pattern := range r.hosts(name, abi) {
		files := []string{pattern}
		if strings.Contains(pattern, majorMark) {
			files, _ = filepath.Glob(strings.ReplaceAll(pattern, majorMark, "[0-9]*"))
		}
		for _, file := range files {
			major, ok := matches(pattern, file)
			if !ok || seen[major] {
				continue
			}
			real, err := filepath.EvalSymlinks(file)
			if err != nil || filepath.Base(real) != filepath.Base(file) {
				continue // busybox, or an alternative
			}
			seen[major] = true
			list = append(list, HostFile{real, major})
		}
	}
	return list
}

// Compare says why no program of the guest matches a twin; "" if one does. It reads only the
// guest's package database.
func (s *Set) Compare(t Twin, root packages.Root, abis []*arch.ABI) string {
	r := ByName(t.Name)
	if vendor := Vendor(root); vendor != s.Vendor {
		return "the guest is " + vendor + ", this host " + s.Vendor
	}
	database := packages.Of(root)
	why := "the guest does not have it"
	for _, abi := range abis {
		if t.ABI != AnyABI && t.ABI != abi.Name || r.unfit(abi) != "" {
			continue
		}
		for _, file := range r.guests(t.Name, abi) {
			o, err := database.Owner(withMajor(file, t.Major), r.packageNames(t.Name, t.Major, abi), abi)
			if err != nil {
				if !errors.Is(err, packages.ErrUnknown) {
					why = "the guest's " + err.Error()
				}
				continue
			}
			have, want := packages.Upstream(database.Kind, o.Version), packages.Upstream(s.Database, t.Version)
			if have == want {
				return ""
			}
			why = "the guest's is " + have + ", this host's " + want
		}
	}
	return why
}
