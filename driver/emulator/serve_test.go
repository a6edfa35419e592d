package emulator_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// connectToPort signs in as an identity at a gateway.
func connectToPort(t *testing.T, az *emulator.Azure, port int, id emulator.Identity) (*pgx.Conn, error) {
	t.Helper()
	config, err := pgx.ParseConfig(az.DSN("sslmode=verify-full"))
	if err != nil {
		t.Fatal(err)
	}
	config.Port = uint16(port)
	config.User = id.Name
	config.Password = az.Token(id, nil)
	config.Fallbacks = nil
	return pgx.ConnectConfig(t.Context(), config)
}

// An additional server accepts the same tokens for its own roles.
func TestServe(t *testing.T) {
	az := emulator.Start(t)
	id := mustGrant(t, az, emulator.Identity{Name: "twice"})
	port, err := az.Serve(t.Context(), az.PostgresDSN())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := connectToPort(t, az, port, id)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if got := queryString(t, conn, "select session_user"); got != id.Name {
		t.Errorf("session_user = %q, want %q", got, id.Name)
	}
}

// The gateway of a PostgreSQL that does not answer refuses sign-ins.
func TestServeWithoutPostgres(t *testing.T) {
	az := emulator.Start(t)
	port, err := az.Serve(t.Context(), az.PostgresDSN()+" port=1")
	if err != nil {
		t.Fatal(err)
	}
	_, err = connectToPort(t, az, port, az.Identity("app"))
	checkPgError(t, err, "08006", "")
}

func TestServeInvalidDSN(t *testing.T) {
	az := emulator.Start(t)
	_, err := az.Serve(t.Context(), "port=none")
	if err == nil || !strings.HasPrefix(err.Error(), "emulator: ") {
		t.Errorf("Serve() = %v, want an error of the emulator", err)
	}
}
