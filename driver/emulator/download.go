package emulator

import (
	"context"
	"io"
	"path/filepath"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
)

// download downloads the server binaries into the cache directory, unless they are there,
// and returns their directory.
func download(ctx context.Context) (string, error) {
	root, err := openCache()
	if err != nil {
		return "", err
	}
	defer root.Close()
	dir := root.Name()
	bin := filepath.Join(dir, "server", "bin")
	if hasServerBinaries(bin) {
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
	// The library also starts the server, which fails as root. Only the binaries that it has
	// extracted before matter.
	err = p.Start()
	if err != nil && !hasServerBinaries(bin) {
		return "", err
	}
	if err == nil {
		if err := p.Stop(); err != nil {
			return "", err
		}
	}
	return bin, ctx.Err()
}
