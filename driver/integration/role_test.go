package integration

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// Names made to break quoting make a role of just that name, which then signs in;
// so does the SQL by which an existing role is given away.
func TestRoleNames(t *testing.T) {
	for _, single := range []bool{false, true} {
		opts, kind, suffix := []emulator.Option(nil), "flexible", ""
		if single {
			opts, kind, suffix = append(opts, emulator.WithSingleServer()), "single", "@"+emulator.ServerName
		}
		fx := newFixture(t, opts...)
		fx.az.SetenvOn(t, emulator.VirtualMachine, fx.app)
		conn := fx.connectAsAdmin(t)
		defer conn.Close()
		for _, name := range []string{
			`x"; DROP ROLE billing; --`, `x', true, true); DROP ROLE billing; --`, `\'; DROP ROLE billing; --`, `back\slash`, `two""quotes`, `it''s`, `$$dollar$1$$`, `E'x'`, `U&"\0041"`,
			"tab\tline\nbell\a", "\x1b[31mred\x1b[0m", "right-to-left \u202eevil", "zero\u200bwidth", "no-break\u00a0space", "команда", "名前", "😀", `%s%n{}`, `/* comment */`, `-- comment`, " spaces ", strings.Repeat("ä", 31) + "x",
		} {
			r := driver.Role{Name: name, Kind: "service-principal", ServerType: kind}
			if single {
				r.ClientID = fx.app.ClientID
			} else {
				r.ObjectID = fx.app.ObjectID
			}
			made, err := r.Apply(context.Background(), conn)
			if err != nil || made == "" {
				t.Errorf("%s %q: %v", kind, name, err)
				continue
			}
			quoted := "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(name+suffix) + "'"
			db, err := connect(t, fx.dsn(secretDSN+"user="+quoted), fx.newTransport())
			if err != nil {
				t.Errorf("%s %q: %v", kind, name, err)
				continue
			}
			if who := sessionUser(t, db); who != name {
				t.Errorf("%s %q: signed in as %q", kind, name, who)
			}
			db.Close()
			_, err = r.Apply(context.Background(), conn) // it exists
			var e *driver.Error
			if !errors.As(err, &e) || e.Step != driver.StepRole {
				t.Errorf("%s %q: %v", kind, name, err)
				continue
			}
			applySQL(t, fx, "", e)
		}
		var left int
		if err := conn.QueryRowContext(context.Background(), "select count(*) from pg_roles where rolname = 'billing'").Scan(&left); err != nil || left != 1 {
			t.Errorf("%d roles billing are left: %v", left, err)
		}
	}
}
