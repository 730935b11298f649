package runtime

import (
	"path/filepath"
	"strings"
	"syscall"

	"binproxy/emu/arch"
	"binproxy/emu/command"
	"binproxy/emu/resolve"
	"binproxy/emu/supervise"
)

// container is the file system that a process of a container will see: its root, with the bind
// mounts of its config.json over it.
type container struct {
	root, host *supervise.Outlook
	cwd        string
	mounts     []mount
}

func openContainer(root, cwd string, mounts []mount) (*container, error) {
	outlook, err := supervise.Ahead(root, cwd)
	if err != nil {
		// The runtime makes a missing working directory.
		if outlook, err = supervise.Ahead(root, "/"); err != nil {
			return nil, err
		}
	}
	host, err := supervise.Ahead("", "/")
	if err != nil {
		outlook.Close()
		return nil, err
	}
	return &container{outlook, host, cwd, mounts}, nil
}

func (c *container) close() {
	c.root.Close()
	c.host.Close()
}

// Open finds the file that execve of path would load. It finds a mount by the path as written: it
// does not follow a link in the root that leads into a mount.
func (c *container) Open(path string) (resolve.File, syscall.Errno) {
	if source := c.source(path); source != "" {
		file, errno := c.host.Open(source)
		file.Path = path
		return file, errno
	}
	return c.root.Open(path)
}

// source is the host's path of a path in a bind mount; "" for a path outside of them.
func (c *container) source(path string) string {
	if !filepath.IsAbs(path) {
		path = filepath.Join("/", c.cwd, path)
	}
	path = filepath.Clean(path)
	for i := len(c.mounts) - 1; i >= 0; i-- {
		m := c.mounts[i]
		if m.Destination == "/" || !below(path, m.Destination) {
			continue
		}
		if !m.bind() {
			return ""
		}
		return filepath.Join(m.Source, strings.TrimPrefix(path, m.Destination))
	}
	return ""
}

// guest is the ABI of the first foreign program that a process leads to, nil for none. That is its
// own program, through the interpreters of scripts. If that one is native and was mounted into the
// container, as an engine's init is, it is the program that this starts: a later argument, or a
// shell.
func (c *container) guest(p process, foreign func(*arch.ABI) bool) *arch.ABI {
	resolver := resolve.Resolver{Guest: foreign}
	abi, file, found := c.resolve(resolver, p.Args[0], p.Env)
	if abi != nil || !found || c.source(file) == "" {
		return abi
	}
	for _, name := range append(p.Args[1:len(p.Args):len(p.Args)], "/bin/sh") {
		if abi, _, _ = c.resolve(resolver, name, p.Env); abi != nil {
			return abi
		}
	}
	return nil
}

// resolve finds a command by the environment's PATH, and whose program it is.
func (c *container) resolve(r resolve.Resolver, name string, env []string) (abi *arch.ABI, file string, found bool) {
	for _, path := range command.Candidates(name, env) {
		if plan, errno := r.Resolve(c, resolve.Request{Path: path, Argv0: name}); errno == 0 {
			return plan.ABI, path, true
		}
	}
	return nil, "", false
}
