package emulator

import "syscall"

// memory is a folder whose files are kept in memory, if there is one with room.
func memory() string {
	const dir, tmpfs, room, writable = "/dev/shm", 0x01021994, 1 << 30, 2
	var s syscall.Statfs_t
	if syscall.Access(dir, writable) != nil || syscall.Statfs(dir, &s) != nil ||
		int64(s.Type) != tmpfs || s.Bavail*uint64(s.Bsize) < room {
		return ""
	}
	return dir
}
