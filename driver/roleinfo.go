package driver

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/aadpostgres/aadpostgres/driver/internal/credential"
	"github.com/aadpostgres/aadpostgres/driver/internal/hint"
	"github.com/aadpostgres/aadpostgres/driver/internal/redact"
)

// roleQuery reads about a role what any role may read. The role's name, as SQL, follows.
const roleQuery = `select r.rolname::text, current_setting('server_version'), current_database()::text,
	coalesce((select string_agg(l.provider || ' ' || l.label, '; ' order by l.provider) from pg_catalog.pg_shseclabel l
		where l.objoid = r.oid and l.classoid = 'pg_catalog.pg_authid'::pg_catalog.regclass), ''),
	array(select g.rolname::text from pg_catalog.pg_auth_members m join pg_catalog.pg_roles g on g.oid = m.roleid where m.member = r.oid order by 1),
	array(select b.datname::text from pg_catalog.pg_database b
		where b.datallowconn and not b.datistemplate and pg_catalog.has_database_privilege(r.oid, b.oid, 'CONNECT') order by 1)
	from pg_catalog.pg_roles r where r.rolname = `

// roleInfo is what the server says about a role.
type roleInfo struct {
	name, version, database, label string
	groups, databases              []string
}

// querySettings makes the meaning of a query independent of the session's settings, which
// PGOPTIONS may have changed, until the end of the query's transaction.
const querySettings = "set local search_path = pg_catalog; set local client_encoding = 'UTF8'; "

// readRole reads what the server says about a role. name is SQL.
func readRole(ctx context.Context, conn *pgx.Conn, name string) (roleInfo, error) {
	var r roleInfo
	query := roleQuery + name
	if conn.PgConn().TxStatus() == 'I' { // not in a transaction of the program's own
		query = querySettings + query
	}
	// The simple protocol takes one round trip, and PgBouncer accepts it. pgx itself refuses
	// to use it for sessions with other settings.
	results := conn.PgConn().Exec(ctx, query)
	found := false
	var err error
	for results.NextResult() {
		reader := results.ResultReader()
		for reader.NextRow() {
			found = true
			for i, dst := range []any{&r.name, &r.version, &r.database, &r.label, &r.groups, &r.databases} {
				field := reader.FieldDescriptions()[i]
				err = cmp.Or(err, conn.TypeMap().Scan(field.DataTypeOID, field.Format, reader.Values()[i], dst))
			}
		}
	}
	err = cmp.Or(results.Close(), err)
	if err == nil && !found {
		err = pgx.ErrNoRows
	}
	return r, err
}

func (r roleInfo) String() string {
	return redact.Printable(fmt.Sprintf("%s; member of %s; may connect to %s",
		cmp.Or(r.label, "no label"),
		cmp.Or(strings.Join(r.groups, ", "), "no role"),
		cmp.Or(strings.Join(r.databases, ", "), "no database")))
}

// Apply runs the statements of [Role.SQL] over conn, which must be a connection of this driver
// or of pgx/stdlib, not a wrapped one, to database postgres as an Entra administrator. It
// returns one line for people: the role's label, memberships and databases. The statements
// are not run in a transaction. If reading the new role fails, Apply returns an error although
// the role exists. Errors are of type [*Error].
func (r Role) Apply(ctx context.Context, conn *sql.Conn) (string, error) {
	statements, err := r.SQL()
	if err != nil {
		cause, remedy, _ := strings.Cut(err.Error(), "; ")
		return "", &Error{Step: StepRole, Hint: remedy, Err: errors.New(cause)}
	}
	var made roleInfo
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
		made, err = readRole(ctx, std.Conn(), quoteLiteral(r.Name))
		return err
	})
	if err != nil {
		return "", r.explain(err)
	}
	return made.String(), nil
}

// explain says what to do where the role cannot be made.
func (r Role) explain(err error) *Error {
	x := errContext{role: r.Name, cloud: credential.Cloud{ServerType: r.ServerType}, newRole: &r}
	cause := causeOf(err)
	text := strings.ReplaceAll(cause, strconv.Quote(r.Name), `""`) // a name is not a wording
	h, _ := hint.Find(text, x.facts(cause, err), hint.Role)
	return &Error{Step: StepRole, Err: err, Hint: h}
}
