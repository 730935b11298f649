//go:build 386 || arm

package sys

import "golang.org/x/sys/unix"

// These calls take ids of 32 bits; those without the number take 16.
const (
	sysSetgroups = unix.SYS_SETGROUPS32
	sysSetresgid = unix.SYS_SETRESGID32
	sysSetresuid = unix.SYS_SETRESUID32
)
