package integration

import (
	"database/sql"
	"errors"
	"strings"
	"testing"

	"github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// TestRoleNames applies Role with names that are made to break quoting. The role has
// exactly that name and signs in. So does a role that exists already, after the SQL of
// the hint has assigned it.
func TestRoleNames(t *testing.T) {
	for _, server := range []struct {
		serverType, suffix string
		opts               []emulator.Option
		byClientID         bool
	}{
		{serverType: "flexible"},
		{serverType: "single", suffix: "@" + emulator.ServerName, opts: []emulator.Option{emulator.WithSingleServer()}, byClientID: true},
	} {
		t.Run(server.serverType, func(t *testing.T) {
			fx := newFixture(t, server.opts...)
			fx.az.SetenvOn(t, emulator.VirtualMachine, fx.app)
			conn := fx.connectAsAdmin(t)
			defer conn.Close()
			for _, name := range []string{
				`x"; DROP ROLE billing; --`, `x', true, true); DROP ROLE billing; --`, `\'; DROP ROLE billing; --`, `back\slash`, `two""quotes`, `it''s`, `$$dollar$1$$`, `E'x'`, `U&"\0041"`,
				"tab\tline\nbell\a", "\x1b[31mred\x1b[0m", "right-to-left \u202eevil", "zero\u200bwidth", "no-break\u00a0space", "команда", "名前", "😀", `%s%n{}`, `/* comment */`, `-- comment`, " spaces ", strings.Repeat("ä", 31) + "x",
			} {
				t.Run(name, func(t *testing.T) {
					r := driver.Role{Name: name, Kind: "service-principal", ServerType: server.serverType, ObjectID: fx.app.ObjectID}
					if server.byClientID {
						r.ObjectID = ""
						r.ClientID = fx.app.ClientID
					}
					testRoleName(t, fx, conn, r, name+server.suffix)
				})
			}
			var got int
			if err := conn.QueryRowContext(t.Context(), "select count(*) from pg_roles where rolname = 'billing'").Scan(&got); err != nil {
				t.Fatal(err)
			}
			if got != 1 {
				t.Errorf("roles named billing = %d, want 1", got)
			}
		})
	}
}

func testRoleName(t *testing.T, fx *fixture, admin *sql.Conn, r driver.Role, user string) {
	text, err := r.Apply(t.Context(), admin)
	if err != nil {
		t.Fatalf("Apply() = %v", err)
	}
	if text == "" {
		t.Error(`Apply() = "", want the role's description`)
	}
	quoted := "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(user) + "'"
	db, err := connect(t, fx.dsn(secretDSN+"user="+quoted), fx.newTransport())
	if strings.ContainsAny(user, "\t\n\a\x1b\u202e\u200b") {
		if err == nil || !strings.Contains(err.Error(), `key "user" contains a line break or another control character`) {
			t.Errorf("connect() = %v, want an error about the control character", err)
		}
		return
	}
	if err != nil {
		t.Fatalf("connect() = %v", err)
	}
	if got := sessionUser(t, db); got != r.Name {
		t.Errorf("session_user = %q, want %q", got, r.Name)
	}
	db.Close()
	_, err = r.Apply(t.Context(), admin)
	var e *driver.Error
	if !errors.As(err, &e) || e.Step != driver.StepRole {
		t.Fatalf("Apply() = %v for a role that exists, want an error of step %s", err, driver.StepRole)
	}
	applySQL(t, fx, "", e)
}
