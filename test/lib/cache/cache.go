// Package cache is the place where downloads, fixtures and notes are kept for the next run.
package cache

import (
	"os"
	"path/filepath"
)

// Dir is the cache's directory, $XDG_CACHE_HOME/binproxy. Dir makes it if necessary.
func Dir() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(base, "binproxy")
	return dir, os.MkdirAll(dir, 0o755)
}
