package integration

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// TestWhoMayGrant checks what MOVING.md says about the role of a password that is granted to
// a new one: who may grant it, and who may make it the default role.
func TestWhoMayGrant(t *testing.T) {
	az := emulator.Start(t)
	conn, err := pgx.Connect(t.Context(), az.PostgresDSN())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	exec := func(t *testing.T, as, sql string) string {
		t.Helper()
		_, err := conn.Exec(t.Context(), "SET SESSION AUTHORIZATION "+as+"; "+sql)
		_, reset := conn.Exec(t.Context(), "RESET SESSION AUTHORIZATION")
		if reset != nil {
			t.Fatal(reset)
		}
		var e *pgconn.PgError
		if err != nil && !errors.As(err, &e) {
			t.Fatal(err)
		}
		if e == nil {
			return ""
		}
		return e.Code
	}
	var version int
	err = conn.QueryRow(t.Context(), "SELECT current_setting('server_version_num')::int / 10000").Scan(&version)
	if err != nil {
		t.Fatal(err)
	}
	denied := "42501"
	if version < 16 {
		denied = ""
	}
	for i, row := range []struct {
		name string
		as   string // who grants
		sql  string // that the maker runs before
		want string // SQLSTATE
	}{
		{"the maker", "maker", "", ""},
		{"another administrator", "administrator", "", denied},
		{"one with the ADMIN OPTION", "administrator", "GRANT appuser TO administrator WITH ADMIN OPTION", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			// The names are those of MOVING.md, with a number to tell the rows apart.
			in := func(sql string) string {
				for _, name := range []string{"maker", "administrator", "appuser", "newapp"} {
					sql = strings.ReplaceAll(sql, name, fmt.Sprintf("%s%d", name, i))
				}
				return sql
			}
			_, err := conn.Exec(t.Context(), in("CREATE ROLE maker CREATEROLE; CREATE ROLE administrator CREATEROLE; CREATE ROLE newapp"))
			if err != nil {
				t.Fatal(err)
			}
			if code := exec(t, in("maker"), in("CREATE ROLE appuser; "+row.sql)); code != "" {
				t.Fatalf("the maker gets %s, want no error", code)
			}
			if code := exec(t, in(row.as), in("GRANT appuser TO newapp")); code != row.want {
				t.Errorf("GRANT: SQLSTATE = %q, want %q", code, row.want)
			}
			if row.want != "" {
				return
			}
			if code := exec(t, in("newapp"), in("ALTER ROLE newapp SET role = appuser")); code != "" {
				t.Errorf("ALTER ROLE: SQLSTATE = %q, want none", code)
			}
		})
	}
}
