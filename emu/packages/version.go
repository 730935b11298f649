package packages

import "strings"

// Upstream removes the distribution's parts from a package's version: the epoch before it and the
// revision after it. kind is the database's.
func Upstream(kind, version string) string {
	if _, rest, ok := strings.Cut(version, ":"); ok {
		version = rest
	}
	switch kind {
	case Dpkg, Rpm:
		if i := strings.LastIndexByte(version, '-'); i >= 0 {
			version = version[:i]
		}
	case Apk:
		if i := strings.LastIndex(version, "-r"); i >= 0 {
			version = version[:i]
		}
	}
	return version
}

// Plain is an upstream version without what a distribution adds about its tar archive (1.34+dfsg):
// the version that the program itself would print.
func Plain(version string) string {
	for _, mark := range []string{"+dfsg", "+ds", "~dfsg", ".dfsg"} {
		version, _, _ = strings.Cut(version, mark)
	}
	return version
}
