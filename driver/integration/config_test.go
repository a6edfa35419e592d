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

// queryRepeatedly runs many queries: a connection that is still held to the limits of a
// sign-in would fail.
func queryRepeatedly(t *testing.T, conn *pgx.Conn, want string) {
	t.Helper()
	for range 20 {
		var got string
		if err := conn.QueryRow(t.Context(), "select session_user").Scan(&got); err != nil {
			t.Error(err)
			return
		}
		if got != want {
			t.Errorf("session_user = %q, want %q", got, want)
			return
		}
	}
}

// TestConfigOfAConnection opens further connections from a connection's config, as
// programs of pgx do for LISTEN, in sequence and concurrently. Each signs in by itself.
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
	if config.Password != "" {
		t.Error("the config has a password, want none")
	}
	if config.ValidateConnect != nil {
		t.Error("the config has a ValidateConnect, want none")
	}
	if config.OAuthTokenProvider != nil {
		t.Error("the config has an OAuthTokenProvider, want none")
	}
	connect := func() {
		conn, err := pgx.ConnectConfig(t.Context(), config)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close(context.Background())
		queryRepeatedly(t, conn, id.Name)
	}
	connect()
	var wg sync.WaitGroup
	for range 24 {
		wg.Go(connect)
	}
	wg.Wait()
}

// TestHooksAfterBeforeConnect checks that hooks which are set after BeforeConnect are
// called, and that the driver's own hooks end with the sign-in.
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
	validateConnects, onPgErrors := 0, 0
	config.ValidateConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
		validateConnects++
		return pgconn.ValidateConnectTargetSessionAttrsReadWrite(ctx, conn)
	}
	config.OnPgError = func(*pgconn.PgConn, *pgconn.PgError) bool {
		onPgErrors++
		return true
	}
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	queryRepeatedly(t, conn, id.Name)
	if _, err := conn.Exec(t.Context(), "select 1/0"); err == nil {
		t.Error("select 1/0 = nil, want an error")
	}
	if conn.IsClosed() {
		t.Error("the connection is closed after an error, want it open")
	}
	if validateConnects != 1 {
		t.Errorf("calls of ValidateConnect = %d, want 1", validateConnects)
	}
	if onPgErrors == 0 {
		t.Error("calls of OnPgError = 0, want some")
	}
}
