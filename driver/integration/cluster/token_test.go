//go:build linux && cluster

package cluster

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// newToken returns a valid token of n characters, or of slightly fewer: base64 does not have
// every length. On Azure the groups claim makes tokens long; 7,000 characters were reported.
func newToken(t testing.TB, id emulator.Identity, n int) string {
	t.Helper()
	longest := ""
	for pad := max(0, (n-len(az.Token(id, nil)))*3/4-20); ; pad++ {
		token := az.Token(id, func(claims map[string]any) { claims["pad"] = strings.Repeat("x", pad) })
		if len(token) > n {
			return longest
		}
		longest = token
	}
}

// TestTokenLength checks which tokens PgBouncer accepts. Before 1.26 a password has at most
// 2,047 characters: PgBouncer truncates a longer token, or rejects an incomplete message.
// Since then the limit is 65,535. The gateway accepts all of these tokens.
func TestTokenLength(t *testing.T) {
	id := newIdentity(t, "long")
	port, cert := newPgBouncer(t, nil)
	for _, length := range []int{1_200, 2_000, 2_047, 2_050, 2_200, 3_000, 7_000, 12_000, 30_000} {
		t.Run(fmt.Sprint(length), func(t *testing.T) {
			token := newToken(t, id, length)
			file := writeFile(t, filepath.Join(newDir(t), "token"), 0o600, token)
			params := []string{"aad_auth=access-token", "user='" + id.Name + "'", "aad_token_file=" + file, "default_query_exec_mode=cache_describe"}
			if err := openDB(t, az.DSN(params...)).Ping(); err != nil {
				t.Errorf("%d characters, without PgBouncer: %v", len(token), err)
			}
			err := openDB(t, poolerDSN(port, cert, params...)).Ping()
			t.Logf("%d characters: %v", len(token), err)
			if len(token) <= 2_047 || pgbouncerMinor(t) >= 26 {
				check(t, err)
				return
			}
			checkErrorText(t, err, "PgBouncer before 1.26")
			checkErrorText(t, err, "5432")
			if err != nil && strings.Contains(err.Error(), token[:20]) {
				t.Errorf("error = %v, want none with the token", err)
			}
		})
	}
}

// TestRefusedThroughPgBouncer checks that each sign-in is checked, also if PgBouncer has
// open sessions.
func TestRefusedThroughPgBouncer(t *testing.T) {
	id, other := newIdentity(t, "refused"), newIdentity(t, "another")
	port, cert := newPgBouncer(t, nil)
	check(t, openDB(t, poolerDSN(port, cert, "aad_auth=managed-identity", "aad_client_id="+id.ClientID)).Ping())
	file := writeFile(t, filepath.Join(newDir(t), "token"), 0o600, az.Token(other, nil))
	err := openDB(t, poolerDSN(port, cert, "aad_auth=access-token", "user='"+id.Name+"'", "aad_token_file="+file)).Ping()
	checkErrorText(t, err, "PAM authentication failed")
}

// TestTokenOutlived checks clients that stay connected longer than their token lives.
// PgBouncer opens sessions with the last token that it received. After the token has
// expired, clients wait for a session until query_wait_timeout, which is two minutes by
// default. SetConnMaxLifetime makes them sign in again in time.
func TestTokenOutlived(t *testing.T) {
	const life = 4 * time.Second
	az.Faults.TokenLife(life)
	defer az.Faults.TokenLife(0)
	for _, tt := range []struct {
		name     string
		lifetime time.Duration // for SetConnMaxLifetime
		good     bool
	}{{"unlimited", 0, false}, {"a quarter of the token's life", life / 4, true}} {
		t.Run(tt.name, func(t *testing.T) {
			id := newIdentity(t, "outlived")
			port, cert := newPgBouncer(t, map[string]string{"server_lifetime": "1", "query_wait_timeout": "2", "server_login_retry": "1"})
			db := openDB(t, poolerDSN(port, cert, "aad_auth=managed-identity", "aad_client_id="+id.ClientID, "default_query_exec_mode=cache_describe"))
			db.SetMaxOpenConns(1)
			db.SetConnMaxLifetime(tt.lifetime)
			check(t, checkRow(t.Context(), db, id.Name, "select session_user"))
			time.Sleep(life)
			err := checkRow(t.Context(), db, id.Name, "select session_user")
			t.Logf("after the token's life: %v", err)
			if tt.good {
				check(t, err)
				return
			}
			if err == nil {
				t.Fatal("error = nil, want one")
			}
			if !strings.Contains(err.Error(), "server login has been failing") && !strings.Contains(err.Error(), "query_wait_timeout") {
				t.Errorf("error = %v, want a failing server login or query_wait_timeout", err)
			}
		})
	}
}
