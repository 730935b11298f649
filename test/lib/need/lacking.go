package need

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"binproxy/test/lib/cache"
)

// lackingPath is the file in which scripts/packages records what it could not install: a package,
// a tab, the reason.
func lackingPath() (string, error) {
	dir, err := cache.Dir()
	return filepath.Join(dir, "not-installed"), err
}

// NoteLacking records why packages could not be installed, for the tests that skip. It replaces
// the earlier record.
func NoteLacking(reasons map[string]string) error {
	path, err := lackingPath()
	if err != nil {
		return err
	}
	if len(reasons) == 0 {
		if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	var lines []string
	for pkg, reason := range reasons {
		lines = append(lines, fmt.Sprintf("%s\t%s\n", pkg, strings.ReplaceAll(reason, "\n", " ")))
	}
	slices.Sort(lines)
	return os.WriteFile(path, []byte(strings.Join(lines, "")), 0o644)
}

// whyLacking is the recorded reason for a package, after ": "; "" if there is none.
func whyLacking(pkg string) string {
	path, err := lackingPath()
	if err != nil {
		return ""
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if name, reason, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t"); ok && name == pkg {
			return ": " + reason
		}
	}
	return ""
}
