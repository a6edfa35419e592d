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

// A seed is what initdb has made once, in one file: a copy takes a tenth of
// the time. Only this user can read it or write to it, also where he is root and
// the server's user is not.
type seed struct {
	root *os.Root // the cache
	name string
}

// format changes when initdb is called in another way.
const format = "1"

// findSeed finds the seed for these programs, whether it is there or not. It
// fails where there is no safe place for one.
func findSeed(bin string) (*seed, error) {
	what := sha256.New()
	fmt.Fprintln(what, format)
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
		fmt.Fprintln(what, path, info.Size(), info.ModTime().UnixNano()) // another version has another
	}
	root, err := cache()
	if err != nil {
		return nil, err
	}
	return &seed{root, fmt.Sprintf("seed-%x.tar", what.Sum(nil)[:8])}, nil
}

func (s *seed) close() { s.root.Close() }

func (s *seed) remove() { s.root.Remove(s.name) }

// pack makes the seed, all at once: who reads it meanwhile has the old one or none,
// and who makes one at the same time does no harm. It is not compressed, for speed.
func (s *seed) pack(data string) (err error) {
	from, err := os.OpenRoot(data) // another user's: no link leads out of it
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
	_, failed := f.Write(sum.Sum(nil))
	if err = errors.Join(err, failed, f.Close()); err == nil {
		err = s.root.Rename(name, s.name)
	}
	if err != nil {
		return errors.Join(err, s.root.Remove(name))
	}
	return s.prune()
}

// read returns the archive in the seed, which ends in its checksum.
func (s *seed) read() ([]byte, error) {
	f, err := s.root.Open(s.name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !ours(info) {
		return nil, errors.Join(err, errors.New("another user may have written the seed"))
	}
	all := make([]byte, info.Size())
	if _, err := io.ReadFull(f, all); err != nil {
		return nil, err
	}
	n := max(0, len(all)-crc32.Size)
	if !bytes.Equal(all[n:], binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(all[:n]))) {
		return nil, errors.New("the seed is spoiled")
	}
	return all[:n], nil
}

// prune removes the seeds of last month: of older versions, or of a process
// that was killed while it made one. Who still wants one makes it anew.
func (s *seed) prune() error {
	files, err := fs.ReadDir(s.root.FS(), ".")
	for _, f := range files {
		info, failed := f.Info()
		if failed == nil && strings.HasPrefix(f.Name(), "seed-") && time.Since(info.ModTime()) > 30*24*time.Hour {
			err = errors.Join(err, s.root.Remove(f.Name()))
		}
	}
	return err
}

// unpack fills the folder, which is empty and ours, and hands it to the server's
// user last: till then nobody else can enter.
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
	r, buf := tar.NewReader(bytes.NewReader(archive)), make([]byte, 1<<20)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return hand(data)
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
	switch {
	case mode.IsDir():
		return to.Mkdir(filepath.Clean(h.Name), mode.Perm())
	case !mode.IsRegular():
		return fmt.Errorf("%s is no file", h.Name)
	}
	f, err := to.OpenFile(h.Name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode.Perm())
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{f}, r, buf) // a file's own way makes a buffer for each
	return errors.Join(err, f.Close())
}
