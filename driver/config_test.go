package driver

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
)

// A connection that was made through BeforeConnect while the token was requested keeps
// the config with our dial function. pgx dials with it again to cancel a query, and a
// program may connect with a copy of it.
func TestDialAfterColdConnect(t *testing.T) {
	entratest.CleanEnv(t)
	s := newFakeServer(t, nil)
	c, err := NewConnector(s.dsn("sslrootcert="+s.certFile), WithCredential(&entratest.Credential{Delay: 20 * time.Millisecond}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	config := c.Config()
	if err := c.BeforeConnect(t.Context(), config); err != nil {
		t.Fatalf("BeforeConnect() = %v, want no error", err)
	}
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatalf("ConnectConfig() = %v, want a connection", err)
	}
	t.Cleanup(func() { conn.Close(t.Context()) })
	conn.PgConn().CancelRequest(t.Context()) // the fake server does not answer it, so its error says nothing
	if _, dials := s.got(); dials != 2 {
		t.Errorf("after CancelRequest() the server was dialed %d times, want 2", dials)
	}
	again, err := pgx.ConnectConfig(t.Context(), conn.Config())
	if err != nil {
		t.Fatalf("ConnectConfig() with the config of a connection = %v, want a connection", err)
	}
	again.Close(t.Context())
}
