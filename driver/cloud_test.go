package driver

import (
	"context"
	"crypto/tls"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/aadpostgres/aadpostgres/driver/internal/entratest"
	"github.com/aadpostgres/aadpostgres/driver/internal/token"
)

// A token that says it is for another cloud does not leave, however it was come by.
func TestTokenOfAnotherCloud(t *testing.T) {
	entratest.CleanEnv(t)
	for _, tt := range []struct {
		host  string
		aud   any
		fails bool
	}{
		{"a.postgres.database.azure.com", "https://ossrdbms-aad.database.windows.net", false},
		{"a.postgres.database.azure.com", "https://ossrdbms-aad.database.windows.net/", false},
		{"a.postgres.database.azure.com", []string{"https://ossrdbms-aad.database.windows.net"}, false},
		{"a.postgres.database.azure.com", "123cd850-d9df-40bd-94d5-c9f07b7fa203", false},
		{"a.postgres.database.azure.com", "https://ossrdbms-aad.database.usgovcloudapi.net", true},
		{"a.postgres.database.azure.com", []string{"x", "https://ossrdbms-aad.database.chinacloudapi.cn"}, true},
		{"a.postgres.database.usgovcloudapi.net", "https://ossrdbms-aad.database.windows.net", true},
		{"a.postgres.database.usgovcloudapi.net", "https://token.postgres.cosmos.azure.com", true},
		{"db.example.com", "https://ossrdbms-aad.database.usgovcloudapi.net", false},
		{"a.postgres.database.azure.com", nil, false},
		{"a.postgres.database.azure.com", 7, false},
	} {
		jwt := entratest.JWT(map[string]any{"aud": tt.aud})
		err := checkToken(token.New(token.Response{Value: jwt, ExpiresOn: time.Now().Add(time.Hour)}, time.Now(), 0), []string{"10.0.0.1", tt.host})
		if (err != nil) != tt.fails || err != nil && strings.Contains(err.Error(), jwt) {
			t.Errorf("%s, %v: %v", tt.host, tt.aud, err)
		}
	}
	s := newFakeServer(t, nil)
	jwt := entratest.JWT(map[string]any{"aud": "https://ossrdbms-aad.database.usgovcloudapi.net"})
	dsn := strings.Replace(s.dsn("aad_auth=access-token sslrootcert="+s.certFile+" password="+jwt), "host=127.0.0.1", "host=example.com.postgres.database.azure.com", 1)
	err := ping(t, dsn, WithTLSConfig(&tls.Config{ServerName: "127.0.0.1"}), WithConnConfig(func(c *pgx.ConnConfig) {
		c.LookupFunc = func(context.Context, string) ([]string, error) { return []string{"127.0.0.1"}, nil }
	}))
	if err == nil || !strings.Contains(err.Error(), "the token is for cloud usgov") {
		t.Errorf("got %v", err)
	}
	if heard, conns := s.got(); strings.Contains(heard, jwt) || conns == 0 {
		t.Errorf("%d connections; the token left: %v", conns, strings.Contains(heard, jwt))
	}
}

// What contradicts the server's cloud is an error before anything is connected to, unless
// the program brings a credential of its own, which asks no authority of the environment.
func TestOtherCloudsAreRefusedWhenOpened(t *testing.T) {
	const (
		server = "host=a.postgres.database.azure.com user=u "
		secret = "aad_auth=client-secret aad_tenant_id=t aad_client_id=c aad_client_secret=" + entratest.Marker
	)
	own := []Option{WithCredential(&entratest.Credential{})}
	rows := []struct {
		name, dsn string
		opts      []Option
		want      string // a part of the error; "" for none
	}{
		{"another cloud's authority", server + secret, nil, "AZURE_AUTHORITY_HOST is of cloud usgov, but the server is in cloud public"},
		{"the program's credential", server, own, ""},
		{"hosts of two clouds", "host=a.postgres.database.azure.com,b.postgres.database.usgovcloudapi.net user=u", own, "is in cloud usgov, but the token is for cloud public"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			entratest.CleanEnv(t)
			t.Setenv("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.us")
			c, err := NewConnector(row.dsn, row.opts...)
			if err == nil {
				defer c.Close()
			}
			if (err == nil) != (row.want == "") {
				t.Fatalf("NewConnector() = %v, want %q", err, row.want)
			}
			if err != nil && !strings.Contains(err.Error(), row.want) {
				t.Errorf("NewConnector() = %v, want %q in it", err, row.want)
			}
		})
	}
}
