package integration

import (
	"context"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/aadpostgres/aadpostgres/driver"
)

// busy asks often enough that a connection which is still held to the rules of a
// sign-in would break.
func queryRepeatedly(t *testing.T, conn *pgx.Conn, want string) {
	t.Helper()
	for range 20 {
		var who string
		if err := conn.QueryRow(t.Context(), "select session_user").Scan(&who); err != nil || who != want {
			t.Errorf("signed in as %q, %v", who, err)
			return
		}
	}
}

// The config of a connection makes others, as pgx's users make one to LISTEN: one
// after the other and at the same time, each signed in by itself.
func TestConfigOfAConnection(t *testing.T) {
	id, dsn := newIdentity(t, "sibling")
	db := openDB(t, dsn)
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var config *pgx.ConnConfig
	conn.Raw(func(raw any) error {
		config = raw.(*stdlib.Conn).Conn().Config()
		return nil
	})
	if config.Password != "" || config.ValidateConnect != nil || config.OAuthTokenProvider != nil {
		t.Error("something of the sign-in is left in the config")
	}
	sibling := func() {
		conn, err := pgx.ConnectConfig(t.Context(), config)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close(context.Background())
		queryRepeatedly(t, conn, id.Name)
	}
	sibling()
	var all sync.WaitGroup
	for range 24 {
		all.Go(sibling)
	}
	all.Wait()
}

// Hooks that come after BeforeConnect are called, and end with the sign-in.
func TestHooksAfterBeforeConnect(t *testing.T) {
	id, dsn := newIdentity(t, "hooked late")
	c, err := driver.NewConnector(dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	config := c.Config()
	if err := c.BeforeConnect(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	validated, refused := 0, 0
	config.ValidateConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
		validated++
		return pgconn.ValidateConnectTargetSessionAttrsReadWrite(ctx, conn)
	}
	config.OnPgError = func(*pgconn.PgConn, *pgconn.PgError) bool {
		refused++
		return true
	}
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	queryRepeatedly(t, conn, id.Name)
	if _, err := conn.Exec(t.Context(), "select 1/0"); err == nil || conn.IsClosed() {
		t.Errorf("%v, closed: %t", err, conn.IsClosed())
	}
	if validated != 1 || refused == 0 {
		t.Errorf("ValidateConnect was called %d times, OnPgError %d", validated, refused)
	}
}
