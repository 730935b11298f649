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

// TwinsEnv is the variable with the default of --twins; "" is the bundle's own.
const TwinsEnv = "BINPROXY_TWINS"

// noTwins is the value of --twins for none.
const noTwins = "off"

// twinsOf gives the twins for a run, nil for none. If a report is asked for, it still finds out
// which programs could have had a twin.
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

// original is a file's name before a farm moved it aside.
func original(path string) string {
	if name, ok := farm.Original(path); ok {
		return name
	}
	return path
}
