package emulator

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// cacheIn makes dir the cache.
func setCache(t testing.TB, dir string, mode fs.FileMode) {
	t.Helper()
	if err := os.Chmod(dir, mode); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AADPOSTGRES_EMULATOR_CACHE", dir)
	t.Setenv("AADPOSTGRES_EMULATOR_POSTGRES", "")
}

// works starts an emulator, signs in to it and stops it.
func checkStart(t testing.TB) {
	t.Helper()
	ctx := context.Background()
	a, err := New(ctx)
	if err != nil {
		t.Error(err)
		return
	}
	app, _ := a.findIdentity(func(id Identity) bool { return id.Name == "app" })
	config, err := pgx.ParseConfig(a.DSN("user=app sslmode=verify-full"))
	if err == nil {
		config.Password = a.Token(app, nil)
		var conn *pgx.Conn
		if conn, err = pgx.ConnectConfig(ctx, config); err == nil {
			err = conn.Close(ctx)
		}
	}
	if err := errors.Join(err, a.Close()); err != nil {
		t.Error(err)
	}
}

// seedIn finds the one seed in a cache.
func findSeedFile(t testing.TB, dir string) string {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 || !strings.HasSuffix(files[0].Name(), ".tar") {
		t.Fatalf("%v, %v; want one seed", files, err)
	}
	return filepath.Join(dir, files[0].Name())
}

// Emulators that start at once make a seed at once, and all work.
func TestFirstStarts(t *testing.T) {
	dir := t.TempDir()
	setCache(t, dir, 0o700)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() { checkStart(t) })
	}
	wg.Wait()
	info, err := os.Stat(findSeedFile(t, dir))
	if err != nil || info.Mode().Perm() != 0o600 || info.Size() > 64<<20 {
		t.Errorf("%v, %v", info, err)
	}
}

// A seed that is no good is replaced, one that others may have written is not read.
func TestSpoiledSeed(t *testing.T) {
	dir := t.TempDir()
	setCache(t, dir, 0o700)
	checkStart(t)
	name := findSeedFile(t, dir)
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	long := time.Now().Add(-time.Hour).Truncate(time.Second)
	put := func(b []byte, mode fs.FileMode) {
		t.Helper()
		if err := errors.Join(os.WriteFile(name, b, 0o600), os.Chmod(name, mode), os.Chtimes(name, long, long)); err != nil {
			t.Fatal(err)
		}
	}
	replaced := func() bool {
		t.Helper()
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		return !info.ModTime().Equal(long)
	}
	put(good, 0o600)
	if checkStart(t); replaced() {
		t.Error("a good seed was replaced")
	}
	flipped := bytes.Clone(good)
	flipped[len(flipped)/2] ^= 1
	for what, b := range map[string][]byte{"cut short": good[:len(good)/3], "one bit": flipped} {
		put(b, 0o600)
		if checkStart(t); !replaced() {
			t.Errorf("%s: it was used", what)
		}
	}
	if filepath.Separator == '/' {
		put(good, 0o666)
		if checkStart(t); !replaced() {
			t.Error("a seed that anybody may write to was used")
		}
	}
}

// What lies in a seed cannot be written elsewhere.
func TestSeedWithLinks(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	setCache(t, dir, 0o700)
	root, err := openCache()
	if err != nil {
		t.Fatal(err)
	}
	s := &seed{root, "seed"}
	defer s.close()
	from := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(from, "base")); err != nil {
		t.Fatal(err)
	}
	if err := s.pack(from); err != nil {
		t.Fatal(err)
	}
	if err := s.unpack(t.TempDir()); err == nil || !strings.Contains(err.Error(), "base is not a regular file") {
		t.Errorf("got %v", err)
	}
}

// A folder to which others may write holds no seed: each start does without.
func TestUnsafeCache(t *testing.T) {
	if filepath.Separator != '/' {
		return // what others may do is not in a file's mode
	}
	dir := t.TempDir()
	setCache(t, dir, 0o777)
	checkStart(t)
	if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
		t.Errorf("%v, %v; want nothing", files, err)
	}
	if _, err := openCache(); err == nil || !strings.Contains(err.Error(), "other users may write to the cache") {
		t.Errorf("got %v", err)
	}
}

// Seeds of versions that are gone do not stay for ever.
func TestOldSeeds(t *testing.T) {
	dir := t.TempDir()
	setCache(t, dir, 0o700)
	old, young, other := filepath.Join(dir, "seed-1.tar"), filepath.Join(dir, "seed-2.tar"), filepath.Join(dir, "server")
	for _, name := range []string{old, young, other} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ago := time.Now().AddDate(0, -2, 0)
	if err := errors.Join(os.Chtimes(old, ago, ago), os.Chtimes(other, ago, ago)); err != nil {
		t.Fatal(err)
	}
	checkStart(t)
	for name, kept := range map[string]bool{old: false, young: true, other: true} {
		if _, err := os.Stat(name); (err == nil) != kept {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// No two servers have a password in common, and the seed's has none.
func TestSuperuser(t *testing.T) {
	ctx := context.Background()
	setCache(t, t.TempDir(), 0o700)
	first, second := Start(t), Start(t)
	one, err := pgx.ParseConfig(first.PostgresDSN())
	if err != nil {
		t.Fatal(err)
	}
	other, err := pgx.ParseConfig(second.PostgresDSN())
	if err != nil {
		t.Fatal(err)
	}
	for _, password := range []string{one.Password, "", "postgres"} {
		config := other.Copy()
		config.Password = password
		if conn, err := pgx.ConnectConfig(ctx, config); err == nil {
			conn.Close(ctx)
			t.Errorf("%q opens it", password)
		}
	}
}

// A start takes less than 3 seconds, with a seed and without. One of three counts: the
// machine may have much else to do.
func TestStartTime(t *testing.T) {
	const bound = 3 * time.Second
	for _, what := range []string{"without a seed", "with one"} {
		fastest := time.Hour
		for range 3 {
			if what == "without a seed" {
				setCache(t, t.TempDir(), 0o700)
			}
			began := time.Now()
			a, err := New(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			fastest = min(fastest, time.Since(began))
			if err := a.Close(); err != nil {
				t.Error(err)
			}
			if fastest < bound {
				break
			}
		}
		if t.Logf("%s: %v", what, fastest); fastest >= bound {
			t.Errorf("%s it takes %v; want less than %v", what, fastest, bound)
		}
	}
}

// BenchmarkStart tells how long a test waits for its emulator, and beside it one
// that runs initdb each time.
func BenchmarkStart(b *testing.B) {
	good, none := b.TempDir(), b.TempDir()
	setCache(b, none, 0o777)
	setCache(b, good, 0o700)
	start := func(dir string) time.Duration {
		b.Setenv("AADPOSTGRES_EMULATOR_CACHE", dir)
		began := time.Now()
		a, err := New(context.Background())
		if err == nil {
			err = a.Close()
		}
		if err != nil {
			b.Fatal(err)
		}
		return time.Since(began)
	}
	start(good) // which makes the seed
	b.ResetTimer()
	var with, without time.Duration
	for range b.N {
		with += start(good)
		b.StopTimer()
		without += start(none)
		b.StartTimer()
	}
	b.ReportMetric(float64(with.Milliseconds())/float64(b.N), "ms-start")
	b.ReportMetric(float64(without.Milliseconds())/float64(b.N), "ms-initdb")
	b.ReportMetric(float64(without)/float64(with), "x-faster")
}
