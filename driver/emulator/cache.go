package emulator

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// cache opens the user's folder for what takes long to make or to fetch, programs
// among it. One that others can write to is refused, and there is none in the
// system's temporary folder: anybody could have made it first.
func cache() (*os.Root, error) {
	dir := os.Getenv("AADPOSTGRES_EMULATOR_CACHE")
	if dir == "" {
		base, err := os.UserCacheDir()
		if os.Geteuid() == 0 { // root's own is closed to the user that the server runs as
			base, err = "/var/cache", nil
		}
		if err != nil {
			return nil, err
		}
		dir = filepath.Join(base, "aadpostgres-emulator")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	if info, err := root.Stat("."); err != nil || !ours(info) {
		return nil, errors.Join(err, fmt.Errorf("emulator: %s is not used as a cache: others may write to it", dir), root.Close())
	}
	return root, nil
}
