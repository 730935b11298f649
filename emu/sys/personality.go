package sys

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// addrNoRandomize is ADDR_NO_RANDOMIZE of linux/personality.h.
const addrNoRandomize = 0x0040000

// FixAddresses makes programs that this thread starts run at the same addresses each time
// (personality(2) with ADDR_NO_RANDOMIZE), until restore is called.
func FixAddresses() (restore func(), err error) {
	const query = 0xffffffff
	now, _, errno := unix.RawSyscall(unix.SYS_PERSONALITY, query, 0, 0)
	if errno == 0 {
		_, _, errno = unix.RawSyscall(unix.SYS_PERSONALITY, now|addrNoRandomize, 0, 0)
	}
	if errno != 0 {
		return nil, fmt.Errorf("personality: %w", errno)
	}
	return func() { unix.RawSyscall(unix.SYS_PERSONALITY, now, 0, 0) }, nil
}
