// Package twin knows which host-native programs may replace programs of the guest, and when.
//
// Most of what a build runs (compilers' passes, compressors, text tools) gives the same bytes
// whatever it runs on. Its twin is the host's program of the same name and upstream version, kept
// in a directory with its loader and libraries (package pack makes it, the file twins.list
// describes it). Three things decide, each only if the one before it says yes:
//
//   - the rule (rules.txt): may this program have a twin at all?
//   - the Matcher: is the guest's file that program, of the twin's upstream version? It asks the
//     guest's package database, once for each file in a run;
//   - the exec: do its arguments and its environment ask for nothing that the twin would do
//     differently (Verdict.Fit)?
//
// The twin is started by its own loader, from its own libraries, and reads the guest's files by
// the guest's paths.
package twin

import (
	"strings"

	"binproxy/emu/arch"
)

// triplet is GNU's name of the ABI, as in the paths of Debian's compilers.
func triplet(abi *arch.ABI) string {
	if abi.Name == "i386" {
		return "i686-linux-gnu"
	}
	return abi.GNU
}

// expand puts the names of an ABI and a program into a pattern; {major} stays.
func expand(pattern, name string, abi *arch.ABI) string {
	t := triplet(abi)
	return strings.NewReplacer("{triplet}", t, "{dashed}", strings.ReplaceAll(t, "_", "-"), "{goarch}", abi.GOARCH,
		"NAME", name, "TOOL", strings.TrimPrefix(name, "go-")).Replace(pattern)
}

const majorMark = "{major}"

// matches compares a path with an expanded pattern, and gives the digits and dots at {major}.
func matches(pattern, file string) (major string, ok bool) {
	if tool, ok := strings.CutPrefix(pattern, gorootMark); ok {
		goroot, ok := strings.CutSuffix(file, tool)
		return "", ok && (!strings.HasPrefix(goroot, "/usr/") || strings.HasPrefix(goroot, "/usr/local/"))
	}
	before, after, varies := strings.Cut(pattern, majorMark)
	if !varies {
		return "", pattern == file
	}
	rest, ok := strings.CutPrefix(file, before)
	if !ok {
		return "", false
	}
	n := 0
	for n < len(rest) && (rest[n] >= '0' && rest[n] <= '9' || rest[n] == '.') {
		n++
	}
	return rest[:n], n > 0 && rest[n:] == after
}

// withMajor puts a major version into a pattern.
func withMajor(pattern, major string) string { return strings.ReplaceAll(pattern, majorMark, major) }
