package runtime

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"binproxy/emu/sys"
)

// object is a JSON object whose fields stay as they are until they are changed.
type object map[string]json.RawMessage

// set changes a field.
func (o object) set(name string, value any) error {
	text, err := json.Marshal(value)
	o[name] = text
	return err
}

// process is the part of a process that is read, from config.json or a file for exec.
type process struct {
	Args []string `json:"args"`
	Env  []string `json:"env"`
	Cwd  string   `json:"cwd"`
}

// mount is the part of a mount that is read.
type mount struct {
	Destination string   `json:"destination"`
	Type        string   `json:"type,omitempty"`
	Source      string   `json:"source,omitempty"`
	Options     []string `json:"options,omitempty"`
}

func (m mount) has(option string) bool { return slices.Contains(m.Options, option) }

// bind reports whether the mount shows a file or directory of the host.
func (m mount) bind() bool { return m.Type == "bind" || m.has("bind") || m.has("rbind") }

// spec is a config.json.
type spec struct {
	path   string // its file
	fields object
	read   struct {
		Process *process `json:"process"`
		Root    *struct {
			Path string `json:"path"`
		} `json:"root"`
		Mounts      []mount           `json:"mounts"`
		Annotations map[string]string `json:"annotations"`
	}
}

// load reads a config.json.
func load(path string) (*spec, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	s := &spec{path: path}
	if err := unmarshal(text, path, &s.fields, &s.read); err != nil {
		return nil, err
	}
	for i, m := range s.read.Mounts {
		s.read.Mounts[i].Destination = filepath.Clean("/" + m.Destination)
	}
	return s, nil
}

// unmarshal reads a JSON object twice: into its fields, and into the known ones.
func unmarshal(text []byte, path string, fields *object, known any) error {
	for _, into := range []any{fields, known} {
		if err := json.Unmarshal(text, into); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	if *fields == nil {
		return fmt.Errorf("%s: it is no JSON object", path)
	}
	return nil
}

// root is the container's root directory; "" where the file names none.
func (s *spec) root() string {
	if s.read.Root == nil || s.read.Root.Path == "" {
		return ""
	}
	if filepath.IsAbs(s.read.Root.Path) {
		return s.read.Root.Path
	}
	return filepath.Join(filepath.Dir(s.path), s.read.Root.Path)
}

// setArgs changes the process's arguments.
func (s *spec) setArgs(args []string) error {
	var fields object
	if err := json.Unmarshal(s.fields["process"], &fields); err != nil {
		return err
	}
	if err := fields.set("args", args); err != nil {
		return err
	}
	return s.fields.set("process", fields)
}

// setMount adds a mount, and removes one with the same destination.
func (s *spec) setMount(added mount) error {
	var raw, kept []json.RawMessage
	if text, ok := s.fields["mounts"]; ok {
		if err := json.Unmarshal(text, &raw); err != nil {
			return err
		}
	}
	for i, m := range raw {
		if i >= len(s.read.Mounts) || s.read.Mounts[i].Destination != added.Destination {
			kept = append(kept, m)
		}
	}
	text, err := json.Marshal(added)
	if err != nil {
		return err
	}
	return s.fields.set("mounts", append(kept, text))
}

// save writes the file anew with its owner and mode, in one step: a reader sees the old one or the
// new one.
func (s *spec) save() error {
	text, err := json.Marshal(s.fields)
	if err != nil {
		return err
	}
	path, err := filepath.EvalSymlinks(s.path)
	if err != nil {
		return err
	}
	fi, err := os.Stat(path)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".config.json-")
	if err != nil {
		return err
	}
	defer f.Close()
	if err := fill(f, fi, text); err != nil {
		os.Remove(f.Name())
		return err
	}
	return os.Rename(f.Name(), path)
}

func fill(f *os.File, like os.FileInfo, text []byte) error {
	if st, ok := like.Sys().(*syscall.Stat_t); ok {
		_ = f.Chown(int(st.Uid), int(st.Gid)) // only root can need to give a file away
	}
	if err := f.Chmod(like.Mode().Perm()); err != nil {
		return err
	}
	_, err := f.Write(text)
	return err
}

// processFile is the file that `exec --process` names.
type processFile struct {
	fields object
	read   process
}

func loadProcess(path string) (*processFile, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	p := &processFile{}
	return p, unmarshal(text, path, &p.fields, &p.read)
}

// inMemory writes the process to a file in memory, which a program that we exec can read, and
// gives its path. The engine's own file does not change.
func (p *processFile) inMemory() (string, error) {
	text, err := json.Marshal(p.fields)
	if err != nil {
		return "", err
	}
	fd, err := unix.MemfdCreate("process.json", 0)
	if err != nil {
		return "", fmt.Errorf("memfd_create: %w", err)
	}
	for len(text) > 0 {
		n, err := sys.Write(fd, text)
		if err != nil {
			return "", fmt.Errorf("write process.json: %w", err)
		}
		text = text[n:]
	}
	return fmt.Sprintf("/proc/self/fd/%d", fd), nil
}

// below reports whether path is dir, or is inside it.
func below(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}
