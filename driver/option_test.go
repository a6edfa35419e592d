package driver

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"database/sql"
	"database/sql/driver"
	"errors"
	"net/http"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/DATA-DOG/go-sqlmock"
	"github.com/jackc/pgx/v5"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
)

// WithOpenFunc replaces pgx, here by go-sqlmock. Its function gets a config that is ready
// to sign in, but no token is requested.
func TestWithOpenFunc(t *testing.T) {
	entratest.CleanEnv(t)
	mocked, mock, err := sqlmock.NewWithDSN("inner")
	if err != nil {
		t.Fatal(err)
	}
	defer mocked.Close()
	mock.ExpectQuery("select 1").WillReturnRows(sqlmock.NewRows([]string{"n"}).AddRow(1))
	cred := &entratest.Credential{}
	name := "with open " + rand.Text()
	var config *pgx.ConnConfig
	Register(name, WithCredential(cred), WithOpenFunc(func(_ context.Context, c *pgx.ConnConfig) (driver.Conn, error) {
		config = c
		return mocked.Driver().Open("inner")
	}))
	db, err := sql.Open(name, "host=h user=u")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var n int
	if err := db.QueryRow("select 1").Scan(&n); err != nil {
		t.Fatalf("the query = %v, want no error", err)
	}
	if n != 1 {
		t.Errorf("the query returned %d, want 1", n)
	}
	if err := mock.ExpectationsWereMet(); err != nil {
		t.Errorf("ExpectationsWereMet() = %v, want no error", err)
	}
	if config.Host != "h" {
		t.Errorf("host = %q, want %q", config.Host, "h")
	}
	if config.User != "u" {
		t.Errorf("user = %q, want %q", config.User, "u")
	}
	if config.Password != "" {
		t.Errorf("password = %q, want none", config.Password)
	}
	if config.TLSConfig == nil || config.TLSConfig.InsecureSkipVerify {
		t.Errorf("TLSConfig = %+v, want one that verifies", config.TLSConfig)
	}
	if got := cred.Calls.Load(); got != 0 {
		t.Errorf("token requests = %d, want 0", got)
	}
}

// The TLS policy holds with WithOpenFunc too.
func TestWithOpenFuncChecksThePolicy(t *testing.T) {
	entratest.CleanEnv(t)
	open := WithOpenFunc(func(context.Context, *pgx.ConnConfig) (driver.Conn, error) { return nil, errors.New("opened") })
	if _, err := NewConnector("host=h user=u sslmode=disable", WithCredential(&entratest.Credential{}), open); err == nil {
		t.Error("NewConnector() succeeded, want an error")
	}
}

// WithOpenFunc's function gets a copy of the config: its changes do not reach the
// connector.
func TestWithOpenFuncGetsACopy(t *testing.T) {
	entratest.CleanEnv(t)
	c := newConnector(t, "host=h user=u", WithOpenFunc(func(_ context.Context, config *pgx.ConnConfig) (driver.Conn, error) {
		config.RuntimeParams["search_path"] = "changed"
		return nil, errors.New("no")
	}))
	if _, err := c.Connect(t.Context()); err == nil {
		t.Error("Connect() succeeded, want an error")
	}
	if got := c.Config().RuntimeParams["search_path"]; got != "" {
		t.Errorf("search_path = %q, want none", got)
	}
}

// What the TLS config of WithTLSConfig leaves empty is taken from the DSN.
func TestWithTLSConfigKeepsTheDSN(t *testing.T) {
	entratest.CleanEnv(t)
	ca := newFakeServer(t, nil).certFile
	c := newConnector(t, "host=h user=u sslnegotiation=direct sslrootcert="+entratest.Quote(ca), WithCredential(&entratest.Credential{}), WithTLSConfig(&tls.Config{MinVersion: tls.VersionTLS13}))
	got := c.Config().TLSConfig
	if got.MinVersion != tls.VersionTLS13 {
		t.Errorf("MinVersion = %x, want %x", got.MinVersion, tls.VersionTLS13)
	}
	if got.ServerName != "h" {
		t.Errorf("ServerName = %q, want %q", got.ServerName, "h")
	}
	if got.RootCAs == nil {
		t.Error("RootCAs = nil, want the DSN's")
	}
	if len(got.NextProtos) == 0 {
		t.Error("NextProtos is empty, want the DSN's")
	}
}

// A nil credential is an error. If it were ignored, another identity would sign in.
func TestNilCredential(t *testing.T) {
	entratest.CleanEnv(t)
	var failed *azidentity.ClientSecretCredential // as its constructor returns it with an error
	for _, tt := range []struct {
		name string
		cred azcore.TokenCredential
	}{
		{"nil", nil},
		{"nil pointer", failed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := NewConnector("host=h user=u", WithCredential(tt.cred))
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("NewConnector() = %v, want an *Error", err)
			}
			if e.Step != StepCredential {
				t.Errorf("step = %q, want %q", e.Step, StepCredential)
			}
		})
	}
}

// Every other option does nothing where its argument is nil.
func TestNilOptions(t *testing.T) {
	entratest.CleanEnv(t)
	var client *http.Client
	opts := []Option{WithConnConfig(nil), WithTransport(client), WithLogger(nil), WithDeviceCodePrompt(nil), WithTLSConfig(nil), nil}
	if _, err := NewConnector("host=h user=u", opts...); err != nil {
		t.Errorf("NewConnector() = %v, want no error", err)
	}
	if got := newOptions([]Option{WithTransport(client)}).transport; got != nil {
		t.Errorf("WithTransport(nil client) sets %v, want nil", got)
	}
}
