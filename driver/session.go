package driver

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// roleQuery reads about a role, as far as anyone may; its name, as SQL, is to follow.
const roleQuery = `select r.rolname::text, current_setting('server_version'), current_database()::text,
	coalesce((select string_agg(l.provider || ' ' || l.label, '; ' order by l.provider) from pg_catalog.pg_shseclabel l
		where l.objoid = r.oid and l.classoid = 'pg_catalog.pg_authid'::pg_catalog.regclass), ''),
	array(select g.rolname::text from pg_catalog.pg_auth_members m join pg_catalog.pg_roles g on g.oid = m.roleid where m.member = r.oid order by 1),
	array(select b.datname::text from pg_catalog.pg_database b
		where b.datallowconn and not b.datistemplate and pg_catalog.has_database_privilege(r.oid, b.oid, 'CONNECT') order by 1)
	from pg_catalog.pg_roles r where r.rolname = `

// attributes are what the server says of a role.
type attributes struct {
	name, version, database, label string
	groups, databases              []string
}

func readRole(ctx context.Context, conn *pgx.Conn, name string) (a attributes, err error) {
	// One round trip, with PgBouncer too.
	err = conn.QueryRow(ctx, roleQuery+name, pgx.QueryExecModeSimpleProtocol).Scan(&a.name, &a.version, &a.database, &a.label, &a.groups, &a.databases)
	return a, err
}

func (a attributes) String() string {
	return printed(fmt.Sprintf("%s; member of %s; may connect to %s", cmp.Or(a.label, "no label"),
		cmp.Or(strings.Join(a.groups, ", "), "no role"), cmp.Or(strings.Join(a.databases, ", "), "no database")))
}

// session tells who is signed in where, and what the server says of the role.
func (d *diagnosis) session(ctx context.Context, conn *pgx.Conn, signedIn time.Time) {
	began := d.trace.since
	if d.ready.After(began) {
		began = d.ready
	}
	in := Check{Name: "sign-in", Found: "done", Took: signedIn.Sub(began)}
	asked := time.Now()
	a, err := readRole(ctx, conn, "session_user")
	if err == nil {
		in.Found = fmt.Sprintf("as %q on %s, PostgreSQL %s, database %q", a.name, conn.PgConn().Conn().RemoteAddr(), a.version, a.database)
	}
	if !d.say(in) {
		return
	}
	role := Check{Name: "role", Took: time.Since(asked)}
	if err != nil {
		role.Status, role.Found, role.Hint = StatusWarn, "not to be read: "+oneLine(cause(err)), "look at the role with an administrator's rights; the sign-in works"
	} else {
		role.Found = a.String()
	}
	d.say(role)
}

// Apply makes the role, by the statements of [Role.SQL] over conn, which must be an
// Entra administrator's in database postgres. It returns what the server said of
// the role it made, in one line. Errors are of type [*Error].
func (r Role) Apply(ctx context.Context, conn *sql.Conn) (string, error) {
	statements, err := r.SQL()
	if err != nil {
		return "", &Error{Step: StepRole, Err: err}
	}
	var made attributes
	err = conn.Raw(func(raw any) error {
		std, ok := raw.(*stdlib.Conn)
		if !ok {
			return fmt.Errorf("the connection is %T, not pgx's", raw)
		}
		for _, s := range statements {
			if _, err := std.Conn().Exec(ctx, s, pgx.QueryExecModeSimpleProtocol); err != nil {
				return err
			}
		}
		made, err = readRole(ctx, std.Conn(), quoteText(r.Name))
		return err
	})
	if err != nil {
		s := situation{role: r.Name, target: target{serverType: r.ServerType}, made: &r}
		hint, _ := s.hint(err, cause(err), StepRole)
		return "", &Error{Step: StepRole, Err: err, Hint: hint}
	}
	return made.String(), nil
}
