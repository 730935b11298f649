package bootstrap

import "path/filepath"

// apk finds the mirror in the root's own list, which later installations use, too.
func apk(o Options, arch, root string) ([]step, error) {
	if err := o.needMirror(); err != nil {
		return nil, err
	}
	packages, err := o.packages("alpine-base")
	if err != nil {
		return nil, err
	}
	argv := []string{"apk", "--root", root, "--arch", arch, "--initdb", "--no-cache"}
	if o.Keyring != "" {
		argv = append(argv, "--keys-dir", o.Keyring)
	}
	files := map[string]string{filepath.Join(root, "etc/apk/repositories"): o.Mirror + "\n"}
	return []step{{argv: append(append(argv, "add"), packages...), files: files}}, nil
}
