// Package uname stands in uname's place.
package uname

import (
	"errors"

	"binproxy/emu/config"
)

// Run prints what the arguments ask for.
func Run(cfg config.Config, args []string) error { return errors.New("not built yet") }
