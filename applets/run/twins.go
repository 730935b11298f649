package run

import (
	"os"
	"path/filepath"

	"binproxy/emu/config"
	"binproxy/emu/exit"
	"binproxy/emu/supervise"
	"binproxy/emu/twin"
	"binproxy/shim/farm"
)

// TwinsEnv is the variable that says what --twins is; "" is the bundle's own.
const TwinsEnv = "BINPROXY_TWINS"

// noTwins is the value of --twins for none.
const noTwins = "off"

// twinsOf are the twins for a run, nil for none. Where a report is asked for, what could have had
// a twin is found out all the same.
func (f *flagsOf) twinsOf(cfg config.Config) (*supervise.Twins, error) {
	dir := f.twins
	if dir == "" {
		dir = filepath.Join(cfg.Dir, twin.DirName)
		if _, err := os.Stat(filepath.Join(dir, twin.ManifestName)); err != nil {
			dir = noTwins
		}
	}
	if dir == noTwins && !f.report.asked() {
		return nil, nil
	}
	off, err := twin.Programs(f.noTwin)
	if err != nil {
		return nil, exit.Errorf(exit.Failed, "run: --no-twin: %w", err)
	}
	t := &supervise.Twins{Off: off, Original: original}
	if dir == noTwins {
		return t, nil
	}
	if dir, err = filepath.Abs(dir); err == nil {
		t.Set, err = twin.Load(dir)
	}
	if err != nil {
		return nil, exit.Errorf(exit.Failed, "run: --twins: %w", err)
	}
	return t, nil
}

// original is the name of a file before a farm put it aside.
func original(path string) string {
	if name, ok := farm.Original(path); ok {
		return name
	}
	return path
}
