//go:build !386 && !arm

package sys

import "golang.org/x/sys/unix"

// These calls take ids of 32 bits.
const (
	sysSetgroups = unix.SYS_SETGROUPS
	sysSetresgid = unix.SYS_SETRESGID
	sysSetresuid = unix.SYS_SETRESUID
)
