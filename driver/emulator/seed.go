package emulator

import (
	"archive/tar"
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// A seed is an archive of what initdb has created. Extracting it takes a tenth of the time
// of initdb. Only this user can read it and write to it, even if this user is root and the
// server runs as another.
type seed struct {
	root *os.Root // the cache directory
	name string
}

// seedFormat must be changed when the arguments of initdb change.
const seedFormat = "1"

// findSeed returns the seed for the server binaries in a directory, whether it exists or
// not. It fails if there is no safe place for one.
func findSeed(bin string) (*seed, error) {
	key := sha256.New()
	fmt.Fprintln(key, seedFormat)
	for _, name := range []string{"initdb", "postgres"} {
		if runtime.GOOS == "windows" {
			name += ".exe"
		}
		path, err := filepath.EvalSymlinks(filepath.Join(bin, name))
		if err != nil {
			return nil, err
		}
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		fmt.Fprintln(key, path, info.Size(), info.ModTime().UnixNano()) // an upgrade changes them
	}
	root, err := openCache()
	if err != nil {
		return nil, err
	}
	return &seed{root, fmt.Sprintf("seed-%x.tar", key.Sum(nil)[:8])}, nil
}

func (s *seed) close() { s.root.Close() }

func (s *seed) remove() { s.root.Remove(s.name) }

// pack creates the seed from a data directory. It renames the complete archive, so that
// concurrent readers see the old seed or none, and concurrent writers do no harm. The
// archive is not compressed, which is faster.
func (s *seed) pack(data string) (err error) {
	from, err := os.OpenRoot(data) // the server's user could have placed symbolic links in it
	if err != nil {
		return err
	}
	defer from.Close()
	name := s.name + "." + rand.Text()
	f, err := s.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	sum := crc32.NewIEEE()
	w := tar.NewWriter(io.MultiWriter(f, sum))
	err = errors.Join(w.AddFS(from.FS()), w.Close())
	_, writeErr := f.Write(sum.Sum(nil))
	err = errors.Join(err, writeErr, f.Close())
	if err == nil {
		err = s.root.Rename(name, s.name)
	}
	if err != nil {
		return errors.Join(err, s.root.Remove(name))
	}
	return s.prune()
}

// read returns the archive. Its checksum follows it in the file.
func (s *seed) read() ([]byte, error) {
	f, err := s.root.Open(s.name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !ownedByUser(info) {
		return nil, errors.New("another user may have written the seed")
	}
	content := make([]byte, info.Size())
	if _, err := io.ReadFull(f, content); err != nil {
		return nil, err
	}
	n := max(0, len(content)-crc32.Size)
	archive := content[:n]
	if !bytes.Equal(content[n:], binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(archive))) {
		return nil, errors.New("the seed is corrupt")
	}
	return archive, nil
}

// prune removes seeds that are older than 30 days: those of older versions, and incomplete
// ones of processes that were killed. A seed that is still in use is then created again.
func (s *seed) prune() error {
	files, err := fs.ReadDir(s.root.FS(), ".")
	for _, f := range files {
		if !strings.HasPrefix(f.Name(), "seed-") {
			continue
		}
		info, infoErr := f.Info()
		if infoErr == nil && time.Since(info.ModTime()) > 30*24*time.Hour {
			err = errors.Join(err, s.root.Remove(f.Name()))
		}
	}
	return err
}

// unpack fills a data directory, which is empty and belongs to this user. It changes the
// directory's owner to the server's user last, so that no other user can enter before.
func (s *seed) unpack(data string) error {
	archive, err := s.read()
	if err != nil {
		return err
	}
	to, err := os.OpenRoot(data)
	if err != nil {
		return err
	}
	defer to.Close()
	uid, gid, err := serverUser()
	if err != nil {
		return err
	}
	r := tar.NewReader(bytes.NewReader(archive))
	buf := make([]byte, 1<<20)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return chownToServer(data)
		}
		if err == nil {
			err = extract(to, h, r, buf)
		}
		if err == nil && uid >= 0 {
			err = to.Lchown(h.Name, uid, gid)
		}
		if err != nil {
			return err
		}
	}
}

func extract(to *os.Root, h *tar.Header, r io.Reader, buf []byte) error {
	mode := h.FileInfo().Mode()
	if mode.IsDir() {
		return to.Mkdir(filepath.Clean(h.Name), mode.Perm())
	}
	if !mode.IsRegular() {
		return fmt.Errorf("%s is not a regular file", h.Name)
	}
	f, err := to.OpenFile(h.Name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode.Perm())
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{f}, r, buf) // os.File.ReadFrom would allocate a buffer for each file
	return errors.Join(err, f.Close())
}
