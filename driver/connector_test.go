package driver

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
)

// pgx gets none of this package's keys, and keeps no secret.
func TestPgxSeesNoKeyOfOurs(t *testing.T) {
	entratest.CleanEnv(t)
	file := filepath.Join(t.TempDir(), "services")
	writeFile(t, file, "[app]\nhost=h\nuser=u\naad_auth=client-secret\naad_tenant_id=t\naad_client_id=c\naad_client_secret="+entratest.Marker+"\n")
	t.Setenv("PGSERVICEFILE", file)
	t.Setenv("PGPASSWORD", entratest.Marker)
	for _, tt := range []struct{ name, dsn string }{
		{"service", "service=app"},
		{"URL", "aadpostgres://u@h/d?aad_auth=client-secret&aad_tenant_id=t&aad_client_id=c&sslpassword=" + entratest.Marker + "&aad_client_secret=" + entratest.Marker},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newConnector(t, tt.dsn)
			config := c.Config()
			if config.Host != "h" {
				t.Errorf("host = %q, want %q", config.Host, "h")
			}
			if config.User != "u" {
				t.Errorf("user = %q, want %q", config.User, "u")
			}
			if len(config.RuntimeParams) != 0 {
				t.Errorf("RuntimeParams = %v, want none", config.RuntimeParams)
			}
			checkNoSecret(t, "ConnString()", config.ConnString())
			checkNoSecret(t, "Password", config.Password)
			checkNoSecret(t, "connector", fmt.Sprintf("%v %+v %#v %s", c, c, c, c))
		})
	}
}

// A connector whose error waits for Connect masks its DSN as every connector does.
func TestDeferredConnectorIsMasked(t *testing.T) {
	entratest.CleanEnv(t)
	c := newConnector(t, "aad_auth=client-secret aad_tenant_id=t aad_client_id=c aad_client_secret="+entratest.Marker)
	got := fmt.Sprintf("%v %+v %#v", c, c, c)
	checkNoSecret(t, "connector", got)
	if want := "aad_client_secret=xxxxx"; !strings.Contains(got, want) {
		t.Errorf("connector = %s, want %q in it", got, want)
	}
	if _, err := c.Connect(t.Context()); !errors.Is(err, errNoHost) {
		t.Errorf("Connect() = %v, want %v", err, errNoHost)
	}
}

// A connector without a host has a config to copy. BeforeConnect returns what is wrong.
func TestConnectorWithoutHost(t *testing.T) {
	entratest.CleanEnv(t)
	c := newConnector(t, "user=u", WithCredential(&entratest.Credential{}))
	config := c.Config()
	if config == nil {
		t.Fatal("Config() = nil, want a config")
	}
	if err := c.BeforeConnect(t.Context(), config); err == nil {
		t.Error("BeforeConnect() succeeded, want an error")
	}
}

// In mode password pgx works as it does alone: there is no token, and TLS is as the DSN
// says.
func TestPasswordMode(t *testing.T) {
	entratest.CleanEnv(t)
	s := newFakeServer(t, func(s *fakeServer) { s.tls = nil })
	if err := ping(t, s.dsn("aad_auth=password sslmode=disable password=mine")); err != nil {
		t.Fatalf("ping = %v, want no error", err)
	}
	if received := s.received.String(); !strings.Contains(received, "mine") {
		t.Errorf("the server received %q, want the password in it", received)
	}
}
