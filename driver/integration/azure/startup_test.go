package azure

import (
	"errors"
	"slices"
	"testing"

	"github.com/aadpostgres/aadpostgres/dsn"
)

// A password goes over verified TLS only, whatever the settings are.
func TestStartupIsVerified(t *testing.T) {
	az, s, _ := emulated(t)
	base, err := dsn.Parse(s.DSN)
	if err != nil {
		t.Fatal(err)
	}
	r := &run{settings: s, mask: newMask(), base: base}
	for _, mode := range []string{"require", "allow", "prefer", "disable"} {
		t.Run(mode, func(t *testing.T) {
			before := len(az.Startups())
			err := r.connect(t.Context(), &startup{user: "app", password: "secret", params: map[string]string{"sslmode": mode, "sslrootcert": ""}})
			if !errors.Is(err, errUnverified) {
				t.Errorf("connect() = %v, want %v", err, errUnverified)
			}
			if got := len(az.Startups()) - before; got != 0 {
				t.Errorf("startups = %d, want 0", got)
			}
		})
	}
}

func TestMethodsIn(t *testing.T) {
	sasl := []byte("R\x00\x00\x00\x23\x00\x00\x00\x0aSCRAM-SHA-256\x00OAUTHBEARER\x00\x00")
	sasl[4] = byte(len(sasl) - 1)
	rows := []struct {
		name string
		b    []byte
		want []string
	}{
		{"nothing", nil, nil},
		{"cleartext", []byte("R\x00\x00\x00\x08\x00\x00\x00\x03"), []string{"cleartext password"}},
		{"SASL", sasl, []string{"SCRAM-SHA-256", "OAUTHBEARER"}},
		{"cut off", sasl[:12], nil},
		{"no length", []byte("R\x00\x00\x00\x00\x00\x00\x00\x03"), nil},
		{"an error", []byte("E\x00\x00\x00\x08\x00\x00\x00\x03"), nil},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if got := methodsIn(row.b); !slices.Equal(got, row.want) {
				t.Errorf("methodsIn(%q) = %q, want %q", row.b, got, row.want)
			}
		})
	}
}
