package driver

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
	"github.com/aadpostgres/aadpostgres/dsn"
)

// Nothing that is returned or printed contains a secret, wherever in a DSN it was written
// and in whatever notation.
func TestSecretsOfAnyNotation(t *testing.T) {
	setNotationEnv(t)
	i := 0
	for s := range entratest.Notations() {
		i++
		if raceDetector && i%11 != 0 {
			continue // all of them are tried without it
		}
		checkNotation(t, s)
	}
}

func FuzzSecretsOfAnyNotation(f *testing.F) {
	setNotationEnv(f)
	entratest.FuzzNotations(f, checkNotation)
}

// setNotationEnv sets a host, so that a DSN without one is not refused for that.
func setNotationEnv(t testing.TB) {
	entratest.CleanEnv(t)
	t.Setenv("PGHOST", "h")
}

func checkNotation(t *testing.T, s string) {
	t.Helper()
	c, err := dsn.Parse(s)
	checkPrintsNoSecret(t, s, "dsn.Parse", err)
	if err == nil {
		checkPrintsNoSecret(t, s, "dsn.Config", *c, c, struct{ db dsn.Config }{*c}, struct{ db *dsn.Config }{c}, c.ConnString())
	}
	c, err = dsn.ParseEnv(s, dsn.OS)
	checkPrintsNoSecret(t, s, "dsn.ParseEnv", err)
	if err == nil {
		checkPrintsNoSecret(t, s, "dsn.Config", struct{ db dsn.Config }{*c})
	}
	db, err := sql.Open(Name, s)
	checkPrintsNoSecret(t, s, "sql.Open", err, struct{ err error }{err})
	if err == nil {
		db.Close()
		checkConnectorPrintsNoSecret(t, s)
	}
	for check := range Diagnose(t.Context(), s) {
		b, _ := json.Marshal(check) // as doctor -json prints it
		checkPrintsNoSecret(t, s, "Diagnose", check, check.Found, check.Hint, string(b))
		break // before it connects
	}
}

func checkConnectorPrintsNoSecret(t *testing.T, s string) {
	t.Helper()
	c, err := NewConnector(s)
	checkPrintsNoSecret(t, s, "NewConnector", err)
	if err != nil {
		return
	}
	defer c.Close()
	checkPrintsNoSecret(t, s, "Connector", c, struct{ c *Connector }{c}, c.err)
	if config := c.Config(); config != nil {
		checkPrintsNoSecret(t, s, "Connector.Config", config.User, config.Database, config.Host, config.RuntimeParams, config.ConnString())
	}
}

// checkPrintsNoSecret checks the forms in which values are printed.
func checkPrintsNoSecret(t *testing.T, s, name string, values ...any) {
	t.Helper()
	for _, v := range values {
		if v == nil {
			continue // no error
		}
		forms := []string{fmt.Sprintf("%v\n%+v\n%#v\n%s\n%q", v, v, v, v, v)}
		if _, isText := v.(string); !isText {
			b, err := json.Marshal(v)
			var log strings.Builder
			slog.New(slog.NewTextHandler(&log, nil)).Info("m", "k", v)
			slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "k", v)
			forms = append(forms, fmt.Sprint(string(b), err), log.String())
		}
		for _, text := range forms {
			if strings.Contains(strings.ToLower(text), entratest.Marker) {
				t.Fatalf("%s of %q: %T is printed as %s, want no secret in it", name, s, v, text)
			}
		}
	}
}
