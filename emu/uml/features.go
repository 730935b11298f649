package uml

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Config is the configuration that the kernel was built with: option without CONFIG_ -> y, m or a
// value.
func (k *Kernel) Config() (map[string]string, error) {
	out, _, err := k.ask("--showconfig")
	if err != nil {
		return nil, fmt.Errorf("kernel %s --showconfig: %w", k.Path, err)
	}
	config := map[string]string{}
	for line := range strings.Lines(out) {
		if option, value, set := strings.Cut(strings.TrimSpace(line), "="); set && option[0] != '#' {
			config[strings.TrimPrefix(option, "CONFIG_")] = value
		}
	}
	return config, nil
}

// modulesFor finds the modules that the job needs and that are not built into the kernel. A kernel
// without a directory of modules has all of them built in, or lacks them; then its mount fails
// with a message.
func (k *Kernel) modulesFor(j *job) ([]string, error) {
	dir := filepath.Join(k.modules, k.Release)
	index, err := os.ReadFile(filepath.Join(dir, modulesIndex))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	names := []string{"overlay"}
	if j.Mode == modeRW {
		names = nil
	}
	if j.Arch != "" {
		names = append(names, "binfmt_misc")
	}
	var paths []string
	for _, name := range names {
		for _, path := range dependencies(string(index), name) {
			if path = filepath.Join(dir, path); !slices.Contains(paths, path) {
				paths = append(paths, path)
			}
		}
	}
	return paths, nil
}

// modulesIndex is the file that lists which modules each module needs.
const modulesIndex = "modules.dep"

// dependencies finds a module and the ones that it needs in the text of modules.dep, in the order
// in which to load them.
func dependencies(index, name string) []string {
	for line := range strings.Lines(index) {
		path, needs, _ := strings.Cut(strings.TrimSpace(line), ":")
		if filepath.Base(path) == name+".ko" {
			order := strings.Fields(needs)
			slices.Reverse(order) // the earlier ones need the last
			return append(order, path)
		}
	}
	return nil
}

// A Feature is a part of a kernel that binproxy uses: the option, and what does not work without
// it.
type Feature struct {
	Name, Option, Without string
}

// Features lists them.
var Features = []Feature{
	{"hostfs", "HOSTFS", "cannot run at all: the root is a directory of the host"},
	{"overlay", "OVERLAY_FS", "no --overlay, and no root without all the directories to mount on"},
	{"binfmt_misc", "BINFMT_MISC", "no --arch"},
	{"vector", "UML_NET_VECTOR", "no slirp4netns: --net uses slirp, without --publish"},
	{"slirp", "UML_NET_SLIRP", "no --net=slirp"},
	{"devtmpfs", "DEVTMPFS", "cannot run at all: no /dev"},
	{"seccomp", "SECCOMP_FILTER", "no seccomp filters in the guest"},
	{"user_ns", "USER_NS", "no user namespaces in the guest"},
	{"ipv6", "IPV6", "no IPv6 in the guest"},
	{"fuse", "FUSE_FS", "no FUSE in the guest"},
}

// A FeatureState is a feature, and whether a kernel has it.
type FeatureState struct{ Name, State string }

// Describe reports whether the kernel runs here, and for each feature whether it is there and what
// does not work without it.
func (k *Kernel) Describe() ([]FeatureState, error) {
	config, err := k.Config()
	if err != nil {
		return nil, err
	}
	states := []FeatureState{{"runs here", "yes"}, {"seccomp mode", "yes"}}
	if err := k.Try(); errors.Is(err, ErrUntold) {
		states[0].State = err.Error()
	} else if err != nil {
		states[0].State = "no: " + err.Error()
	}
	if !k.hasSeccomp() {
		states[1].State = "no: no --seccomp"
	}
	for _, f := range Features {
		state := "no: " + f.Without
		switch config[f.Option] {
		case "y":
			state = "yes"
		case "m":
			state = "as a module: " + f.Without
			index, _ := os.ReadFile(filepath.Join(k.modules, k.Release, modulesIndex))
			for _, name := range []string{f.Name, strings.ToLower(strings.TrimSuffix(f.Option, "_FS"))} {
				if dependencies(string(index), name) != nil {
					state = "as a module, in " + filepath.Join(k.modules, k.Release)
				}
			}
		}
		states = append(states, FeatureState{f.Name, state})
	}
	return states, nil
}
