package emulator

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// connectAsApp signs in as the identity app.
func connectAsApp(ctx context.Context, a *Azure) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig(a.DSN("user=app sslmode=verify-full"))
	if err != nil {
		return nil, err
	}
	config.Password = a.Token(a.Identity("app"), nil)
	return pgx.ConnectConfig(ctx, config)
}

// checkStart starts an emulator, signs in and closes it.
func checkStart(t testing.TB) {
	t.Helper()
	ctx := context.Background()
	a, err := New(ctx)
	if err != nil {
		t.Error(err)
		return
	}
	conn, err := connectAsApp(ctx, a)
	if err == nil {
		err = conn.Close(ctx)
	}
	if err := errors.Join(err, a.Close()); err != nil {
		t.Error(err)
	}
}

// timeStart starts an emulator and closes it, and returns how long the start took.
func timeStart(t testing.TB) time.Duration {
	t.Helper()
	start := time.Now()
	a, err := New(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	took := time.Since(start)
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	return took
}

// A superuser's password opens only its own server, and the seed has no password.
func TestSuperuserPassword(t *testing.T) {
	ctx := context.Background()
	setCache(t, t.TempDir(), 0o700)
	first := Start(t)
	second := Start(t)
	firstConfig, err := pgx.ParseConfig(first.PostgresDSN())
	if err != nil {
		t.Fatal(err)
	}
	secondConfig, err := pgx.ParseConfig(second.PostgresDSN())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, password string }{
		{"another server's", firstConfig.Password},
		{"empty", ""},
		{"default", "postgres"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			config := secondConfig.Copy()
			config.Password = tt.password
			conn, err := pgx.ConnectConfig(ctx, config)
			if err == nil {
				conn.Close(ctx)
				t.Error("the superuser signed in, want an error")
			}
		})
	}
}

// A start takes less than 3 seconds, with and without a seed. The fastest of three counts,
// because other processes may slow the machine down.
func TestStartTime(t *testing.T) {
	const limit = 3 * time.Second
	for _, tt := range []struct {
		name    string
		prepare func(t *testing.T)
	}{
		{"without a seed", func(t *testing.T) { setCache(t, t.TempDir(), 0o700) }},
		{"with a seed", func(*testing.T) {}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fastest := time.Hour
			for range 3 {
				tt.prepare(t)
				fastest = min(fastest, timeStart(t))
				if fastest < limit {
					break
				}
			}
			t.Log(fastest)
			if fastest >= limit {
				t.Errorf("the start took %v, want less than %v", fastest, limit)
			}
		})
	}
}

// BenchmarkStart measures how long a test waits for its emulator, and for comparison how
// long with initdb.
func BenchmarkStart(b *testing.B) {
	withSeed := b.TempDir()
	withoutSeed := b.TempDir()
	setCache(b, withoutSeed, 0o777)
	setCache(b, withSeed, 0o700)
	start := func(cacheDir string) time.Duration {
		b.Setenv("AADPOSTGRES_EMULATOR_CACHE", cacheDir)
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
	start(withSeed) // creates the seed
	b.ResetTimer()
	var with, without time.Duration
	for range b.N {
		with += start(withSeed)
		b.StopTimer()
		without += start(withoutSeed)
		b.StartTimer()
	}
	b.ReportMetric(float64(with.Milliseconds())/float64(b.N), "ms-start")
	b.ReportMetric(float64(without.Milliseconds())/float64(b.N), "ms-initdb")
	b.ReportMetric(float64(without)/float64(with), "x-faster")
}
