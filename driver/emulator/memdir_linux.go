package emulator

import "syscall"

// memoryDir returns a directory whose files are kept in memory, or "" if there is none
// that is writable and has 1 GiB of free space.
func memoryDir() string {
	const (
		dir      = "/dev/shm"
		tmpfs    = 0x01021994 // TMPFS_MAGIC in linux/magic.h
		minFree  = 1 << 30
		writable = 2 // W_OK
	)
	if syscall.Access(dir, writable) != nil {
		return ""
	}
	var s syscall.Statfs_t
	if syscall.Statfs(dir, &s) != nil {
		return ""
	}
	if int64(s.Type) != tmpfs || s.Bavail*uint64(s.Bsize) < minFree {
		return ""
	}
	return dir
}
