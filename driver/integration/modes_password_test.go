package integration

import (
	"context"
	"crypto/rand"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// TestPasswordMode checks that mode password is plain pgx: a native role signs in with
// SCRAM, and no token is requested.
func TestPasswordMode(t *testing.T) {
	admin, err := pgx.Connect(t.Context(), az.PostgresDSN())
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(context.Background())
	name, password := "native_"+strings.ToLower(rand.Text()[:8]), rand.Text()
	if _, err := admin.Exec(t.Context(), "CREATE ROLE "+name+" LOGIN PASSWORD '"+password+"'"); err != nil {
		t.Fatal(err)
	}
	defer admin.Exec(context.Background(), "DROP ROLE "+name)
	before := az.Counts().Requests
	params := "aad_auth=password sslmode=verify-full user=" + name + " password="
	for range 2 {
		db, err := connect(t, az.DSN(params+password))
		if err != nil {
			t.Fatal(err)
		}
		if got := sessionUser(t, db); got != name {
			t.Errorf("session_user = %q, want %q", got, name)
		}
		db.Close()
	}
	_, err = connect(t, az.DSN(params+"wrong"))
	if want := `password authentication failed for user "` + name + `"`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("a wrong password: connect() = %v, want %q", err, want)
	}
	if err != nil && strings.Contains(err.Error(), "Entra") {
		t.Errorf("a wrong password: connect() = %v, want an error without Entra", err)
	}
	if got := az.Counts().Requests - before; got != 0 {
		t.Errorf("token requests = %d, want 0", got)
	}
}
