package emulator

import (
	"context"
	"io"
	"path/filepath"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
)

// download fetches server binaries into the user's cache folder, once. The
// library also starts the server it unpacks; that fails as root, and what counts
// is what it has unpacked.
func download(ctx context.Context) (string, error) {
	root, err := cache()
	if err != nil {
		return "", err
	}
	defer root.Close()
	dir := root.Name()
	bin := filepath.Join(dir, "server", "bin")
	if complete(bin) {
		return bin, nil
	}
	port, err := freePort()
	if err != nil {
		return "", err
	}
	p := embeddedpostgres.NewDatabase(embeddedpostgres.DefaultConfig().
		Version(embeddedpostgres.V17).Port(uint32(port)).Logger(io.Discard).
		CachePath(filepath.Join(dir, "archive")).
		BinariesPath(filepath.Join(dir, "server")).
		RuntimePath(filepath.Join(dir, "runtime")))
	if err := p.Start(); err == nil {
		err = p.Stop()
		if err != nil {
			return "", err
		}
	} else if !complete(bin) {
		return "", err
	}
	return bin, ctx.Err()
}
