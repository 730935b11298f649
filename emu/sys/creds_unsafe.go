package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// FileIDs are the ids and rights that decide on a thread's access to files.
type FileIDs struct {
	UID, GID  int // of the file system (fsuid, fsgid)
	Groups    []int
	Effective uint64 // capabilities
}

// SetFileIDs sets them for the calling thread, and for no other of the process (lock it to its
// goroutine first). What the thread may not set does not change.
func SetFileIDs(ids FileIDs) {
	list := make([]uint32, len(ids.Groups)+1)
	for i, g := range ids.Groups {
		list[i] = uint32(g)
	}
	raise(^uint64(0)) // to be allowed to set the rest
	_, _, _ = unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(ids.Groups)), uintptr(unsafe.Pointer(&list[0])), 0)
	_, _, _ = unix.RawSyscall(unix.SYS_SETFSGID, uintptr(ids.GID), 0, 0)
	// removes the file system's capabilities, or restores them
	_, _, _ = unix.RawSyscall(unix.SYS_SETFSUID, uintptr(ids.UID), 0, 0)
	raise(ids.Effective)
}

// raise makes those of the thread's permitted capabilities effective that are in set, and no
// others.
func raise(set uint64) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if _, _, errno := unix.RawSyscall(unix.SYS_CAPGET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])), 0); errno != 0 {
		return
	}
	data[0].Effective = data[0].Permitted & uint32(set)
	data[1].Effective = data[1].Permitted & uint32(set>>32)
	_, _, _ = unix.RawSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])), 0)
}

// Capable reports whether the process has an effective capability.
func Capable(capability int) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return false
	}
	return data[capability/32].Effective&(1<<(capability%32)) != 0
}
