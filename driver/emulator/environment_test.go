package emulator_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// PostgreSQL does not know of @server, so the gateway takes it off for its roles too.
func TestSingleServerNativeRole(t *testing.T) {
	az := emulator.Start(t, emulator.WithSingleServer())
	super, err := pgx.ParseConfig(az.PostgresDSN())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := connectAs(t, az, "postgres@"+emulator.ServerName, super.Password)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close(context.Background())
}

// A client that insists on a newer protocol is told; one that merely asks gets 3.0.
func TestProtocolVersion(t *testing.T) {
	az := emulator.Start(t)
	app := az.Add(emulator.Identity{Name: "app"})
	for minimum, ok := range map[string]bool{"3.0": true, "3.2": false} {
		config, err := pgx.ParseConfig(az.DSN("user=app sslmode=verify-full max_protocol_version=3.2 min_protocol_version=" + minimum))
		if err != nil {
			t.Fatal(err)
		}
		config.Password = az.Token(app, nil)
		conn, err := pgx.ConnectConfig(context.Background(), config)
		if (err == nil) != ok {
			t.Errorf("at least %s: %v", minimum, err)
		}
		if conn != nil {
			conn.Close(context.Background())
		}
	}
}

// What the environment tells the clients of this process is not for the gateway's own connections.
func TestEnvironment(t *testing.T) {
	dir, err := os.MkdirTemp("", "it's a folder ")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // the server's user passes through
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", dir)
	t.Setenv("PGREQUIREAUTH", "password")
	az := emulator.Start(t)
	before := az.Counts().SignIns
	app := az.Add(emulator.Identity{Name: "app"})
	conn, err := connectAs(t, az, "app", az.Token(app, nil))
	if err != nil {
		t.Fatal(err)
	}
	conn.Close(context.Background())
	if n := az.Counts().SignIns - before; n != 1 {
		t.Errorf("%d sign-ins, want 1", n)
	}
}

// A server that dies is reported at once, in its own words, and leaves nothing.
func TestServerDies(t *testing.T) {
	if os.PathSeparator != '/' {
		t.Skip("the stand-in is a shell script")
	}
	bin, err := os.MkdirTemp("", "bin-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(bin)
	script := "#!/bin/sh\ncase $0 in */postgres) echo FATAL: no memory >&2; exit 1;; esac\n"
	err = errors.Join(os.Chmod(bin, 0o755), os.WriteFile(bin+"/initdb", []byte(script), 0o755),
		os.WriteFile(bin+"/postgres", []byte(script), 0o755))
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	t.Setenv("AADPOSTGRES_EMULATOR_POSTGRES", "")
	before, start := goleak.IgnoreCurrent(), time.Now()
	_, err = emulator.New(context.Background())
	if err == nil || !strings.Contains(err.Error(), "FATAL: no memory") {
		t.Errorf("got %v", err)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("it took %v", d)
	}
	goleak.VerifyNone(t, before)
}
