package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
	"github.com/aadpostgres/aadpostgres/dsn"
)

// The environment of a program that exec runs has a secret of the DSN in PGPASSWORD alone,
// wherever in the DSN it was written and in whatever notation.
func TestProgramEnvOfAnyNotation(t *testing.T) {
	entratest.CleanEnv(t)
	for s := range entratest.Notations() {
		checkProgramEnv(t, s)
	}
}

func FuzzProgramEnvOfAnyNotation(f *testing.F) {
	entratest.CleanEnv(f)
	entratest.FuzzNotations(f, checkProgramEnv)
}

func checkProgramEnv(t *testing.T, s string) {
	t.Helper()
	config, err := dsn.ParseEnv(s, dsn.OS)
	if err != nil {
		return // exec prints the error, which package driver checks
	}
	env, err := programEnv(config, driver.Credentials{User: "u", Password: config.Password})
	if err != nil && strings.Contains(err.Error(), entratest.Marker) {
		t.Fatalf("programEnv of %q: %v, want no secret in it", s, err)
	}
	for _, variable := range env {
		if slices.Contains(os.Environ(), variable) || strings.HasPrefix(variable, "PGPASSWORD=") {
			continue
		}
		if strings.Contains(strings.ToLower(variable), entratest.Marker) {
			t.Fatalf("programEnv of %q has %q, want no secret in it", s, variable)
		}
	}
}
