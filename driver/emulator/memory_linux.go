package emulator

import (
	"os"
	"syscall"
)

// memory is a folder whose files are kept in memory, if there is one with room.
// Who has set TMPDIR wants that.
func memory() string {
	const dir, tmpfs, room = "/dev/shm", 0x01021994, 1 << 30
	var s syscall.Statfs_t
	if os.Getenv("TMPDIR") != "" || syscall.Statfs(dir, &s) != nil ||
		int64(s.Type) != tmpfs || s.Bavail*uint64(s.Bsize) < room {
		return ""
	}
	return dir
}
