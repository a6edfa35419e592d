package emulator_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// One more server knows the same tokens and its own roles, and is gone with the
// emulator. One that does not answer refuses.
func TestServe(t *testing.T) {
	az := emulator.Start(t)
	id := az.Add(emulator.Identity{Name: "twice"})
	if err := az.Grant(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	open := func(postgres string) error {
		port, err := az.Serve(t.Context(), postgres)
		if err != nil {
			t.Fatal(err)
		}
		config, err := pgx.ParseConfig(az.DSN("sslmode=verify-full"))
		if err != nil {
			t.Fatal(err)
		}
		config.Port, config.User, config.Password = uint16(port), id.Name, az.Token(id, nil)
		config.Fallbacks = nil
		conn, err := pgx.ConnectConfig(t.Context(), config)
		if err != nil {
			return err
		}
		defer conn.Close(t.Context())
		var who string
		if err := conn.QueryRow(t.Context(), "select session_user").Scan(&who); err != nil || who != id.Name {
			t.Errorf("signed in as %q, %v", who, err)
		}
		return nil
	}
	if err := open(az.PostgresDSN()); err != nil {
		t.Error(err)
	}
	nobody := az.PostgresDSN() + " port=1"
	var pg *pgconn.PgError
	if err := open(nobody); !errors.As(err, &pg) || pg.Code != "08006" {
		t.Errorf("a server that does not answer: %v", err)
	}
	if _, err := az.Serve(t.Context(), "port=none"); err == nil || !strings.HasPrefix(err.Error(), "emulator: ") {
		t.Errorf("a DSN that is none: %v", err)
	}
}
