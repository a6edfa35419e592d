//go:build linux && cluster

package cluster

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// tokenOf makes a good token of n characters, or one less: not every length can be
// had. On Azure groups do the padding, up to 7,000 characters have been seen.
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

// Before 1.26 PgBouncer holds passwords of at most 2,047 characters: it cuts a longer
// token off, or refuses a message that it has not got whole. From then on it takes
// 65,535. The gateway takes them all.
func TestTokenLength(t *testing.T) {
	id := newIdentity(t, "long")
	port, cert := newPgBouncer(t, nil)
	for _, length := range []int{1_200, 2_000, 2_047, 2_050, 2_200, 3_000, 7_000, 12_000, 30_000} {
		token := newToken(t, id, length)
		file := writeFile(t, filepath.Join(newDir(t), "token"), 0o600, token)
		who := []string{"aad_auth=access-token", "user='" + id.Name + "'", "aad_token_file=" + file, "default_query_exec_mode=cache_describe"}
		if err := openDB(t, az.DSN(who...)).Ping(); err != nil {
			t.Errorf("%d characters, past PgBouncer: %v", len(token), err)
		}
		err := openDB(t, poolerDSN(port, cert, who...)).Ping()
		t.Logf("%d characters: %v", len(token), err)
		if len(token) <= 2_047 || pgbouncerMinor(t) >= 26 {
			if err != nil {
				t.Errorf("%d characters: %v", len(token), err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), "PgBouncer before 1.26") || !strings.Contains(err.Error(), "5432") || strings.Contains(err.Error(), token[:20]) {
			t.Errorf("%d characters: the error does not lead to the version: %v", len(token), err)
		}
	}
}

// Each sign-in is judged, also where sessions are there to be had.
func TestRefusedThroughPgBouncer(t *testing.T) {
	id, other := newIdentity(t, "refused"), newIdentity(t, "another")
	port, cert := newPgBouncer(t, nil)
	check(t, openDB(t, poolerDSN(port, cert, "aad_auth=managed-identity", "aad_client_id="+id.ClientID)).Ping())
	file := writeFile(t, filepath.Join(newDir(t), "token"), 0o600, az.Token(other, nil))
	err := openDB(t, poolerDSN(port, cert, "aad_auth=access-token", "user='"+id.Name+"'", "aad_token_file="+file)).Ping()
	if err == nil || !strings.Contains(err.Error(), "PAM authentication failed") {
		t.Errorf("another's token: %v", err)
	}
}

// PgBouncer opens a session with the token that it was shown last. Clients that stay
// longer than it lives come to have none, and are kept waiting for PgBouncer's
// query_wait_timeout, two minutes; SetConnMaxLifetime has them come anew in time.
func TestTokenOutlived(t *testing.T) {
	const life = 4 * time.Second
	az.Faults.TokenLife(life)
	defer az.Faults.TokenLife(0)
	for lifetime, good := range map[time.Duration]bool{0: false, life / 4: true} {
		t.Run(lifetime.String(), func(t *testing.T) {
			id := newIdentity(t, "outlived")
			port, cert := newPgBouncer(t, map[string]string{"server_lifetime": "1", "query_wait_timeout": "2", "server_login_retry": "1"})
			db := openDB(t, poolerDSN(port, cert, "aad_auth=managed-identity", "aad_client_id="+id.ClientID, "default_query_exec_mode=cache_describe"))
			db.SetMaxOpenConns(1)
			db.SetConnMaxLifetime(lifetime)
			check(t, checkRow(t.Context(), db, id.Name, "select session_user"))
			time.Sleep(life)
			err := checkRow(t.Context(), db, id.Name, "select session_user")
			t.Logf("SetConnMaxLifetime(%s): %v", lifetime, err)
			if good && err != nil || !good && (err == nil || !strings.Contains(err.Error(), "server login has been failing") && !strings.Contains(err.Error(), "query_wait_timeout")) {
				t.Errorf("SetConnMaxLifetime(%s): %v", lifetime, err)
			}
		})
	}
}
