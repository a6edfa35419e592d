package integration

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/driver/emulator"
	"github.com/aadpostgres/aadpostgres/driver/internal/need"
	"github.com/aadpostgres/aadpostgres/dsn"
)

// A testTransport is the emulator's HTTP client, with further options of a mode.
type testTransport struct {
	client http.Client
	opts   []driver.Option
	noIMDS bool // no instance metadata service is reachable
}

func (tr *testTransport) Do(r *http.Request) (*http.Response, error) {
	if tr.noIMDS && r.URL.Hostname() == "169.254.169.254" {
		return nil, errors.New("no route to host")
	}
	return tr.client.Do(r)
}

func newTestTransport() *testTransport {
	tr := &testTransport{client: *az.Client()}
	tr.opts = []driver.Option{driver.WithTransport(tr)}
	return tr
}

// TestEveryMode tests each mode: a first sign-in with its one token request, further
// connections and a second pool without a request, a rejection by the server, and a
// refusal by the authority.
func TestEveryMode(t *testing.T) {
	// azidentity caches no token that lives less than five minutes, so each request and
	// each cached token is this driver's.
	az.Faults.TokenLife(4 * time.Minute)
	defer az.Faults.TokenLife(0)
	tested := map[string]bool{"password": true} // by TestPasswordMode
	for _, m := range modeTests {
		for mode := range strings.SplitSeq(m.mode, ",") {
			tested[mode] = true
		}
		t.Run(strings.TrimSpace(m.mode+" "+m.name), func(t *testing.T) {
			if m.unixOnly && runtime.GOOS == "windows" {
				t.Skip("the emulated programs are shell scripts")
			}
			if m.unixOnly {
				need.Program(t, "bash")
			}
			m.run(t)
		})
	}
	for _, mode := range dsn.Modes() {
		if !tested[string(mode.Name)] {
			t.Errorf("mode %s is not tested; add a row to modes_test.go", mode.Name)
		}
	}
}

func (m modeTest) run(t *testing.T) {
	for _, name := range []string{"PGHOST", "PGUSER", "PGPASSWORD"} {
		t.Setenv(name, "")
	}
	id, other := m.identity(t), m.identity(t)
	if m.systemAssigned {
		id = emulator.Identity{Name: "app"}
	}
	tr := newTestTransport()
	params := "aad_auth=" + m.mode + " " + m.setup(t, id, tr)

	before := az.Counts()
	requestsBefore := len(az.Requests())
	db := m.openDB(t, params, tr)
	if got := sessionUser(t, db); got != id.Name {
		t.Errorf("first sign-in: session_user = %q, want %q", got, id.Name)
	}
	first := az.Counts()
	m.checkRequestCount(t, first.Requests-before.Requests)
	m.checkRequest(t, id, az.Requests()[requestsBefore:])

	openConns(t, db, 3) // one of them is idle
	openConns(t, m.openDB(t, params, tr), 3)
	cached := az.Counts()
	if got := cached.Requests - first.Requests; got != 0 {
		t.Errorf("with a cached token: token requests = %d, want 0", got)
	}
	if got := cached.SignIns - first.SignIns; got != 5 {
		t.Errorf("with a cached token: sign-ins = %d, want 5", got)
	}
	m.testServerRejection(t, other, params, tr)
	m.testAuthorityRefusal(t, id, params, tr)
}

func (m modeTest) checkRequestCount(t *testing.T, got int64) {
	t.Helper()
	switch {
	case m.noAuthority:
		if got != 0 {
			t.Errorf("first sign-in: token requests = %d, want 0", got)
		}
	case m.want["grant_type"] == "*device_code": // it may poll once before the code is confirmed
		if got != 1 && got != 2 {
			t.Errorf("first sign-in: token requests = %d, want 1 or 2", got)
		}
	default:
		if got != 1 {
			t.Errorf("first sign-in: token requests = %d, want 1", got)
		}
	}
}

// testServerRejection signs in with another identity's role. The token is cached, and it
// is too new for the rejection to cause a request.
func (m modeTest) testServerRejection(t *testing.T, other emulator.Identity, params string, tr *testTransport) {
	before := az.Counts()
	err := m.openDB(t, params+" user='"+other.Name+"'", tr).Ping()
	checkError(t, err, "oid mismatch for role["+other.Name+"]")
	if e := asError(t, err); e.Step != driver.StepSignIn {
		t.Errorf("rejected by the server: step = %q, want %q", e.Step, driver.StepSignIn)
	}
	after := az.Counts()
	if got := after.Requests - before.Requests; got != 0 {
		t.Errorf("rejected by the server: token requests = %d, want 0", got)
	}
	if got := after.Refused - before.Refused; got != 1 {
		t.Errorf("rejected by the server: refused sign-ins = %d, want 1", got)
	}
}

func (m modeTest) testAuthorityRefusal(t *testing.T, id emulator.Identity, params string, tr *testTransport) {
	before := az.Counts()
	params = m.deny(t, id, params)
	denied := newTestTransport() // shares no cached token with tr
	denied.noIMDS = tr.noIMDS
	denied.opts = append(denied.opts, tr.opts[1:]...)
	err := m.openDB(t, params, denied).Ping()
	checkError(t, err, m.wantErr)
	if e := asError(t, err); e.Step != driver.StepToken {
		t.Errorf("refused by the authority: step = %q, want %q", e.Step, driver.StepToken)
	}
	after := az.Counts()
	if got := after.SignIns - before.SignIns; got != 0 {
		t.Errorf("refused by the authority: sign-ins = %d, want 0", got)
	}
	if got := after.Tokens - before.Tokens; got != 0 {
		t.Errorf("refused by the authority: tokens = %d, want 0", got)
	}
}

func (m modeTest) identity(t *testing.T) emulator.Identity {
	t.Helper()
	name := "mode " + rand.Text()[:8]
	if m.kind == emulator.User {
		name = rand.Text()[:8] + "@contoso.com"
	}
	id := az.Add(emulator.Identity{Name: name, Kind: m.kind, Secret: "secret of " + name, Certificates: []*x509.Certificate{testCertificates.cert, testCertificates.ca}})
	if err := az.Grant(context.Background(), id); err != nil {
		t.Fatal(err)
	}
	return id
}

func (m modeTest) openDB(t *testing.T, params string, tr *testTransport) *sql.DB {
	t.Helper()
	c, err := driver.NewConnector(az.DSN(params), tr.opts...)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(c)
	t.Cleanup(func() { db.Close() })
	return db
}

// checkRequest compares the token request, which is the last of requests, with want.
func (m modeTest) checkRequest(t *testing.T, id emulator.Identity, requests []emulator.Request) {
	t.Helper()
	if m.noAuthority {
		return
	}
	if len(requests) == 0 {
		t.Error("requests = 0, want some")
		return
	}
	r := requests[len(requests)-1]
	if r.Status != http.StatusOK {
		t.Errorf("status = %d, want %d", r.Status, http.StatusOK)
	}
	for name, want := range m.want {
		want, got := fill(want, id), strings.Join(r.Form[name], " ")
		kind, field, _ := strings.Cut(name, " ")
		switch kind {
		case "path":
			got = r.Path
		case "host":
			got = r.Host
		case "header":
			got = r.Header.Get(field)
		case "assertion":
			got = fmt.Sprint(decodeJWT(t, r.Form.Get("client_assertion"), 1)[field])
		case "chain":
			chain, _ := decodeJWT(t, r.Form.Get("client_assertion"), 0)["x5c"].([]any)
			got = fmt.Sprint(len(chain))
		case "hint":
			got = ""
			for _, r := range requests {
				got += r.Form.Get("login_hint")
			}
		}
		if !matches(got, want) {
			t.Errorf("%s: %s = %q, want %q", r.Path, name, got, want)
		}
	}
}

// matches compares got with a pattern: "?" is any text, and * at either end any more text.
func matches(got, pattern string) bool {
	rest, anyBefore := strings.CutPrefix(pattern, "*")
	text, anyAfter := strings.CutSuffix(rest, "*")
	switch {
	case pattern == "?":
		return got != ""
	case anyBefore && anyAfter:
		return strings.Contains(got, text)
	case anyBefore:
		return strings.HasSuffix(got, text)
	case anyAfter:
		return strings.HasPrefix(got, text)
	}
	return got == pattern
}

// decodeJWT decodes the header (0) or the claims (1) of a JWT.
func decodeJWT(t *testing.T, jwt string, i int) (fields map[string]any) {
	t.Helper()
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		t.Errorf("%q has %d parts, want a JWT", jwt, len(parts))
		return nil
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[i])
	if err == nil {
		err = json.Unmarshal(b, &fields)
	}
	if err != nil {
		t.Error(err)
	}
	return fields
}
