package driver

import (
	"context"
	"crypto/tls"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/jackc/pgx/v5"
)

// A token that says it is for another cloud does not leave, however it was come by.
func TestTokenOfAnotherCloud(t *testing.T) {
	clean(t)
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
		token := jwt(map[string]any{"aud": tt.aud})
		err := guard{}.meant(newToken(azcore.AccessToken{Token: token, ExpiresOn: time.Now().Add(time.Hour)}, time.Now(), 0), []string{"10.0.0.1", tt.host})
		if (err != nil) != tt.fails || err != nil && strings.Contains(err.Error(), token) {
			t.Errorf("%s, %v: %v", tt.host, tt.aud, err)
		}
	}
	s := newFakeServer(t, nil)
	token := jwt(map[string]any{"aud": "https://ossrdbms-aad.database.usgovcloudapi.net"})
	dsn := strings.Replace(s.dsn("aad_auth=access-token sslrootcert="+s.certFile+" password="+token), "host=127.0.0.1", "host=example.com.postgres.database.azure.com", 1)
	err := ping(t, dsn, WithTLSConfig(&tls.Config{ServerName: "127.0.0.1"}), WithConnConfig(func(c *pgx.ConnConfig) {
		c.LookupFunc = func(context.Context, string) ([]string, error) { return []string{"127.0.0.1"}, nil }
	}))
	if err == nil || !strings.Contains(err.Error(), "the token is for servers of cloud usgov") {
		t.Errorf("got %v", err)
	}
	if heard, conns := s.got(); strings.Contains(heard, token) || conns == 0 {
		t.Errorf("%d connections; the token left: %v", conns, strings.Contains(heard, token))
	}
}
