package lab

import (
	"context"
	"os"

	"binproxy/emu/apt"
)

// Mirror is the Debian mirror that the machine's own apt uses; "" where it uses none (an Ubuntu), for debootstrap's default. The environment
// variable BINPROXY_MIRROR overrides it.
func Mirror(ctx context.Context) (string, error) {
	if mirror := os.Getenv("BINPROXY_MIRROR"); mirror != "" {
		return mirror, nil
	}
	return apt.Mirror(ctx)
}
