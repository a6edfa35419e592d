package driver

import (
	"database/sql"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
	"github.com/aadpostgres/aadpostgres/dsn"
)

// Nothing that is returned or printed contains a secret, wherever in a DSN it was written
// and in whatever notation.
func FuzzSecretsOfAnyNotation(f *testing.F) {
	entratest.CleanEnv(f)
	f.Setenv("PGHOST", "h") // so that a DSN without a host is not refused for that
	entratest.FuzzNotations(f, func(t *testing.T, s string) {
		c, err := dsn.Parse(s)
		checkPrintsNoSecret(t, s, "dsn.Parse", err)
		if err == nil {
			checkPrintsNoSecret(t, s, "dsn.Config", *c, c, struct{ db dsn.Config }{*c}, struct{ db *dsn.Config }{c}, c.ConnString(), c.Host())
		}
		c, err = dsn.ParseEnv(s, dsn.Env{Getenv: os.Getenv, ReadFile: os.ReadFile})
		checkPrintsNoSecret(t, s, "dsn.ParseEnv", err)
		if err == nil {
			checkPrintsNoSecret(t, s, "dsn.Config", struct{ db dsn.Config }{*c})
		}
		db, err := sql.Open(Name, s)
		checkPrintsNoSecret(t, s, "sql.Open", err)
		if err == nil {
			db.Close()
		}
		connector, err := NewConnector(s)
		checkPrintsNoSecret(t, s, "NewConnector", err, struct{ err error }{err})
		if err == nil {
			checkPrintsNoSecret(t, s, "Connector", connector, struct{ c *Connector }{connector}, connector.err)
			if config := connector.Config(); config != nil {
				checkPrintsNoSecret(t, s, "Connector.Config", config.User, config.Database, config.Host, config.RuntimeParams, config.ConnString())
			}
			connector.Close()
		}
		for check := range Diagnose(t.Context(), s) {
			b, _ := json.Marshal(check) // as doctor -json prints it
			checkPrintsNoSecret(t, s, "Diagnose", check, check.Found, check.Hint, string(b))
			break // before it connects
		}
	})
}

// checkPrintsNoSecret checks all forms in which the values can be printed.
func checkPrintsNoSecret(t *testing.T, s, name string, values ...any) {
	t.Helper()
	for _, v := range values {
		if v == nil {
			continue
		}
		for _, form := range printedForms(v) {
			if strings.Contains(strings.ToLower(form.text), entratest.Marker) {
				t.Fatalf("%s of %q: %T as %s = %s, want no secret in it", name, s, v, form.name, form.text)
			}
		}
	}
}
