package driver

import (
	"crypto/rand"
	"database/sql"
	"database/sql/driver"
	"errors"
	"testing"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
)

// The package registers a driver that wrappers recognize by its type.
func TestRegistered(t *testing.T) {
	db, err := sql.Open("aadpostgres", "host=h user=u aad_auth=access-token password=x")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, ok := db.Driver().(*Driver); !ok {
		t.Errorf("the driver is a %T, want a *Driver", db.Driver())
	}
}

// The options of Register apply to everything that is opened by its name, also by a
// wrapper that gets the driver by opening the empty DSN.
func TestRegister(t *testing.T) {
	entratest.CleanEnv(t)
	s := newFakeServer(t, nil)
	cred := &entratest.Credential{}
	name := "with credential " + rand.Text()
	Register(name, WithCredential(cred))
	empty, err := sql.Open(name, "")
	if err != nil {
		t.Fatal(err)
	}
	defer empty.Close()
	c, err := empty.Driver().(driver.DriverContext).OpenConnector(s.trustedDSN(""))
	if err != nil {
		t.Fatalf("OpenConnector() = %v", err)
	}
	conn, err := c.Driver().Open(s.trustedDSN(""))
	if err != nil {
		t.Fatalf("Open() = %v", err)
	}
	conn.Close()
	if got := cred.Calls.Load(); got != 1 {
		t.Errorf("token requests = %d, want 1", got)
	}
}

// A name can be registered once, as in database/sql.
func TestRegisterTwice(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Errorf("Register(%q) returned, want a panic", Name)
		}
	}()
	Register(Name)
}

// Wrappers open the empty DSN to get the driver. That works in every environment. Connect
// returns what is wrong with it.
func TestEmptyDSN(t *testing.T) {
	for _, tt := range []struct{ name, value string }{
		{"A", "b"},
		{"PGSSLMODE", "disable"},
		{"PGHOST", "/tmp"},
		{"PGSERVICE", "none"},
		{"AZURE_TOKEN_CREDENTIALS", "nonsense"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			entratest.CleanEnv(t)
			t.Setenv(tt.name, tt.value)
			db, err := sql.Open("aadpostgres", "")
			if err != nil {
				t.Fatalf("Open() = %v, want no error", err)
			}
			defer db.Close()
			var e *Error
			if err := db.Ping(); !errors.As(err, &e) {
				t.Errorf("Ping() = %v, want an *Error", err)
			}
		})
	}
}
