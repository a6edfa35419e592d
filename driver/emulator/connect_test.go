package emulator_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// connectAs connects as a user with a password, which is a token for an Entra role.
func connectAs(t *testing.T, az *emulator.Azure, user, password string) (*pgx.Conn, error) {
	t.Helper()
	config, err := pgx.ParseConfig(az.DSN("sslmode=verify-full"))
	if err != nil {
		t.Fatal(err)
	}
	config.User = user
	config.Password = password
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return pgx.ConnectConfig(ctx, config)
}

// mustConnectAs is connectAs for a sign-in that must succeed. It closes the connection at
// the end of the test.
func mustConnectAs(t *testing.T, az *emulator.Azure, user, password string) *pgx.Conn {
	t.Helper()
	conn, err := connectAs(t, az, user, password)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// mustConnect signs in with a token of id by a DSN or a URL.
func mustConnect(t *testing.T, az *emulator.Azure, id emulator.Identity, dsn string) *pgx.Conn {
	t.Helper()
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	config.Password = az.Token(id, nil)
	conn, err := pgx.ConnectConfig(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// startWithAdmin starts an emulator and connects as an Entra administrator. An option makes
// it single server.
func startWithAdmin(t *testing.T, opts ...emulator.Option) (*emulator.Azure, *pgx.Conn) {
	t.Helper()
	az := emulator.Start(t, opts...)
	admin := az.Add(emulator.Identity{Name: "dba@contoso.com", Kind: emulator.User})
	if err := az.GrantAdmin(context.Background(), admin); err != nil {
		t.Fatal(err)
	}
	user := admin.Name
	if len(opts) > 0 {
		user += "@" + emulator.ServerName
	}
	return az, mustConnectAs(t, az, user, az.Token(admin, nil))
}

// mustGrant adds an identity and grants it a role.
func mustGrant(t *testing.T, az *emulator.Azure, id emulator.Identity) emulator.Identity {
	t.Helper()
	id = az.Add(id)
	if err := az.Grant(context.Background(), id); err != nil {
		t.Fatal(err)
	}
	return id
}

// mustExec executes statements one by one.
func mustExec(t *testing.T, conn *pgx.Conn, statements ...string) {
	t.Helper()
	for _, sql := range statements {
		if _, err := conn.Exec(context.Background(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

// checkSignIn checks that an identity can sign in as a user, and that the session is the
// user's role. On single server the user name is longer than the role's.
func checkSignIn(t *testing.T, az *emulator.Azure, user string, id emulator.Identity) {
	t.Helper()
	conn, err := connectAs(t, az, user, az.Token(id, nil))
	if err != nil {
		t.Errorf("sign-in as %q: %v", user, err)
		return
	}
	defer conn.Close(context.Background())
	if got := queryString(t, conn, "select session_user"); !strings.HasPrefix(user, got) {
		t.Errorf("session_user = %q, want the role of %q", got, user)
	}
}

// queryString returns the only column of the only row of a query.
func queryString(t *testing.T, conn *pgx.Conn, sql string, args ...any) (s string) {
	t.Helper()
	if err := conn.QueryRow(context.Background(), sql, args...).Scan(&s); err != nil {
		t.Errorf("%s: %v", sql, err)
	}
	return s
}

// checkPgError checks that err is an error of PostgreSQL's protocol with a code, and with
// text in its message.
func checkPgError(t *testing.T, err error, code, text string) {
	t.Helper()
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) {
		t.Errorf("got error %v, want one with code %s", err, code)
		return
	}
	if pgErr.Code != code {
		t.Errorf("got code %s (%v), want %s", pgErr.Code, err, code)
	}
	if !strings.Contains(pgErr.Message, text) {
		t.Errorf("got message %q, want %q in it", pgErr.Message, text)
	}
}
