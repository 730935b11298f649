package bootstrap

import (
	"fmt"
	"path/filepath"
)

// repository tells dnf and zypper the mirror. A package without a good signature ends the run;
// with a keyring, an index without one does so, too.
func repository(o Options, name string) string {
	text := fmt.Sprintf("[%s]\nname=%s\nbaseurl=%s\nenabled=1\ngpgcheck=1\n", name, name, o.Mirror)
	if o.Keyring != "" {
		text += "repo_gpgcheck=1\ngpgkey=file://" + o.Keyring + "\n"
	}
	return text
}

// beside is a file of ours that the bootstrapper reads. It is next to the root, and removed with
// the partial directory.
func beside(root, name string) string { return filepath.Join(filepath.Dir(root), name) }

// database is where the RPM of today's Fedora and openSUSE keeps its database. Debian's RPM, which
// may be the one that runs here, keeps it in a home.
func database(root string) map[string]string {
	return map[string]string{beside(root, "home/.rpmmacros"): "%_dbpath /usr/lib/sysimage/rpm\n"}
}

func dnf(o Options, arch, root string) ([]step, error) {
	if err := o.needMirror(); err != nil {
		return nil, err
	}
	packages, err := o.packages("bash", "coreutils", "dnf")
	if err != nil {
		return nil, err
	}
	argv := []string{"dnf", "-y", "--forcearch=" + arch, "--installroot=" + root, "--releasever=" + o.suite("0"),
		"--setopt=reposdir=" + beside(root, "repos"), "--setopt=cachedir=" + beside(root, "cache"), "--setopt=install_weak_deps=False",
		"--noplugins", "install"}
	files := database(root)
	files[beside(root, "repos/bootstrap.repo")] = repository(o, "bootstrap")
	return []step{{argv: append(argv, packages...), files: files}}, nil
}

// zypper takes the architecture from the file that ZYPP_CONF names. The repository stays in the
// root, for later installations.
func zypper(o Options, arch, root string) ([]step, error) {
	if err := o.needMirror(); err != nil {
		return nil, err
	}
	packages, err := o.packages("bash", "coreutils", "rpm", "zypper")
	if err != nil {
		return nil, err
	}
	conf := beside(root, "zypp.conf")
	env := []string{"ZYPP_CONF=" + conf}
	var all []step
	if o.Keyring != "" {
		all = append(all, step{argv: []string{"rpm", "--root=" + root, "--import", o.Keyring}, files: database(root)})
	}
	files := database(root)
	files[conf] = "[main]\narch = " + arch + "\n"
	files[filepath.Join(root, "etc/zypp/repos.d/bootstrap.repo")] = repository(o, "bootstrap")
	zypp := []string{"zypper", "--non-interactive", "--root", root}
	all = append(all,
		step{argv: append(zypp[:4:4], "refresh"), env: env, files: files},
		step{argv: append(append(zypp[:4:4], "install", "--no-recommends"), packages...), env: env})
	return all, nil
}
