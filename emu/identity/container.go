package identity

import "os"

// containerFiles are what Docker, and Podman and Buildah, leave in a container's root.
var containerFiles = [...]string{"/.dockerenv", "/run/.containerenv"}

// containerEnv is what Singularity, Apptainer, and (by the convention of systemd's container
// interface) Podman, nspawn, LXC and others set in a container's environment.
var containerEnv = [...]string{"SINGULARITY_NAME", "APPTAINER_NAME", "container"}

// InContainer reports whether the process runs in a container, as far as the root directory and
// the environment show it. BuildKit and plain containerd show nothing: set the variable
// `container` there.
func InContainer(root string, getenv func(string) string) bool {
	for _, name := range containerEnv {
		if getenv(name) != "" {
			return true
		}
	}
	for _, path := range containerFiles {
		if _, err := os.Lstat(root + path); err == nil {
			return true
		}
	}
	return false
}
