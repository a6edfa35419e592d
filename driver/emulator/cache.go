package emulator

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// openCache opens the user's cache directory, which holds server binaries and seeds. It
// refuses a directory that other users can write to, because the emulator runs programs
// from it. It never uses the system's temporary directory, where another user could have
// created it first.
func openCache() (*os.Root, error) {
	dir := os.Getenv("AADPOSTGRES_EMULATOR_CACHE")
	if dir == "" {
		base, err := os.UserCacheDir()
		if os.Geteuid() == 0 { // the server's user cannot enter root's cache directory
			base = "/var/cache"
			err = nil
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
	info, err := root.Stat(".")
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	if !ownedByUser(info) {
		return nil, errors.Join(fmt.Errorf("emulator: other users may write to the cache directory %q; remove their permission or set AADPOSTGRES_EMULATOR_CACHE", dir), root.Close())
	}
	return root, nil
}
