package runtime

import (
	"binproxy/emu/exit"
	"os"
	"path/filepath"
	"slices"
)

// name is the directory of the bundle in a container.
const name = ".binproxy"

// preferred are the tmpfs that the bundle goes to, the best first; any other comes after them.
var preferred = []string{"/dev", "/run", "/tmp", "/dev/shm"}

// spare are directories that images have, mostly empty, and programs rarely need.
var spare = []string{"/mnt", "/media", "/srv"}

const errNoPlace = exit.Sentinel("there is no place for the bundle in the container: it has no writable tmpfs at /dev or elsewhere," +
	" and none of /mnt, /media and /srv is an empty directory; mount a tmpfs (--tmpfs /run)")

// place chooses where in the container to mount the bundle. The runtime makes the mount point. In
// a tmpfs of the container's own, the mount point ends with the container. Elsewhere it would stay
// in the root, and so in an image's layer; there place takes an existing empty directory.
func place(s *spec) (string, error) {
	at := map[string]mount{}
	for _, m := range s.read.Mounts {
		for other := range at {
			if below(other, m.Destination) {
				delete(at, other) // it is hidden
			}
		}
		at[m.Destination] = m
	}
	var found []string
	for destination, m := range at {
		if m.Type == "tmpfs" && (destination == "/dev" || !m.has("ro")) {
			found = append(found, destination)
		}
	}
	slices.Sort(found)
	for _, destination := range append(slices.Clone(preferred), found...) {
		if slices.Contains(found, destination) {
			return filepath.Join(destination, name), nil
		}
	}
	for _, dir := range spare {
		if _, mounted := at[dir]; !mounted && empty(s.root(), dir) {
			return dir, nil
		}
	}
	return "", errNoPlace
}

// empty reports whether dir in the root is an empty directory, and not a link.
func empty(root, dir string) bool {
	path := filepath.Join(root, dir)
	if fi, err := os.Lstat(path); err != nil || !fi.IsDir() {
		return false
	}
	names, err := os.ReadDir(path)
	return err == nil && len(names) == 0
}

// placed finds where the bundle is mounted in a container that was made with one.
func placed(mounts []mount, bundle string) (string, bool) {
	for _, m := range mounts {
		if m.bind() && m.Source == bundle {
			return m.Destination, true
		}
	}
	return "", false
}
