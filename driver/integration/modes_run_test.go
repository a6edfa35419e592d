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

	"github.com/jackc/pgx/v5"

	"github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/driver/emulator"
	"github.com/aadpostgres/aadpostgres/dsn"
)

// around is what a way adds beside its DSN.
type testTransport struct {
	client http.Client
	opts   []driver.Option
	noIMDS bool
}

func (a *testTransport) Do(r *http.Request) (*http.Response, error) {
	if a.noIMDS && r.URL.Hostname() == "169.254.169.254" {
		return nil, errors.New("no route to host")
	}
	return a.client.Do(r)
}

// Every mode: a fresh sign-in with the one request that reaches the authority, a
// second pool that needs none, a refusal by the authority, a refusal by the server.
func TestEveryMode(t *testing.T) {
	// Under five minutes: azidentity's own caches keep nothing then, and what is
	// asked and what is not is this driver's doing.
	az.Faults.TokenLife(4 * time.Minute)
	defer az.Faults.TokenLife(0)
	seen := map[string]bool{"password": true} // has a test of its own
	for _, w := range modeTests {
		for mode := range strings.SplitSeq(w.mode, ",") {
			seen[mode] = true
		}
		t.Run(w.mode+" "+w.name, func(t *testing.T) {
			if w.unixOnly && runtime.GOOS == "windows" {
				t.Skip("the emulated programs are shell scripts")
			}
			w.run(t)
		})
	}
	for _, m := range dsn.Modes() {
		if !seen[string(m.Name)] {
			t.Errorf("mode %s is not tested: give it a row in modes_test.go", m.Name)
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
	o := &testTransport{client: *az.Client()}
	o.opts = []driver.Option{driver.WithTransport(o)}
	params := "aad_auth=" + m.mode + " " + m.setup(t, id, o)

	began := az.Counts()
	seen := len(az.Requests())
	db := m.openDB(t, params, o)
	if who := sessionUser(t, db); who != id.Name {
		t.Errorf("fresh: signed in as %q, want %q", who, id.Name)
	}
	one := int64(1)
	if m.noAuthority {
		one = 0
	}
	fresh := az.Counts()
	if n := fresh.Requests - began.Requests; n < one || n > 2*one || m.want["grant_type"] != "*device_code" && n != one { // a device code is polled for
		t.Errorf("fresh: %d token requests", n)
	}
	m.checkRequest(t, id, az.Requests()[seen:])

	openConns(t, db, 3)
	openConns(t, m.openDB(t, params, o), 3)
	if n := az.Counts().Requests - fresh.Requests; n != 0 {
		t.Errorf("cached: %d more token requests", n)
	}

	// The server lets nobody in as another: the same token, no further request.
	err := m.openDB(t, params+" user='"+other.Name+"'", o).Ping()
	var failed *driver.Error
	if !errors.As(err, &failed) || failed.Step != driver.StepSignIn || !strings.Contains(err.Error(), "oid mismatch for role["+other.Name+"]") {
		t.Errorf("refused by the server: %v", err)
	}
	if n := az.Counts(); n.Requests != fresh.Requests || n.Refused != fresh.Refused+1 {
		t.Errorf("refused by the server: %d more token requests, %d refusals", n.Requests-fresh.Requests, n.Refused-fresh.Refused)
	}

	params = m.deny(t, id, params)
	denied := &testTransport{client: *az.Client(), noIMDS: o.noIMDS}
	denied.opts = append([]driver.Option{driver.WithTransport(denied)}, o.opts[1:]...)
	err = m.openDB(t, params, denied).Ping()
	if !errors.As(err, &failed) || failed.Step != driver.StepToken || !strings.Contains(err.Error(), m.wantErr) || strings.ContainsAny(err.Error(), "\r\n") {
		t.Errorf("refused by the authority: %v, want %q", err, m.wantErr)
	}
	if n := az.Counts(); n.SignIns != fresh.SignIns+5 || n.Tokens != fresh.Tokens {
		t.Errorf("refused by the authority: %d sign-ins, %d tokens more", n.SignIns-fresh.SignIns-5, n.Tokens-fresh.Tokens)
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

func (m modeTest) openDB(t *testing.T, params string, o *testTransport) *sql.DB {
	t.Helper()
	c, err := driver.NewConnector(az.DSN(params), o.opts...)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(c)
	t.Cleanup(func() { db.Close() })
	return db
}

// check compares the token request, the last one of those seen, with what is wanted.
func (m modeTest) checkRequest(t *testing.T, id emulator.Identity, seen []emulator.Request) {
	t.Helper()
	if m.noAuthority || len(seen) == 0 {
		if !m.noAuthority {
			t.Error("no request was recorded")
		}
		return
	}
	r := seen[len(seen)-1]
	if r.Status != http.StatusOK {
		t.Errorf("the request was answered with %d", r.Status)
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
			for _, r := range seen {
				got += r.Form.Get("login_hint")
			}
		}
		if !matches(got, want) {
			t.Errorf("%s: %s = %q, want %q", r.Path, name, got, want)
		}
	}
}

// matches compares got with want, in which ? is anything and * at either end is
// more.
func matches(got, want string) bool {
	begins, before := strings.CutPrefix(want, "*")
	ends, after := strings.CutSuffix(begins, "*")
	switch {
	case want == "?":
		return got != ""
	case before && after:
		return strings.Contains(got, ends)
	case before:
		return strings.HasSuffix(got, begins)
	case after:
		return strings.HasPrefix(got, ends)
	}
	return got == want
}

// part decodes the header (0) or the claims (1) of a JWT.
func decodeJWT(t *testing.T, jwt string, i int) (fields map[string]any) {
	t.Helper()
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		t.Errorf("%q is no JWT", jwt)
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

// Mode password is pgx as it is: a role of PostgreSQL's own, by SCRAM, and nobody is
// asked for a token.
func TestPasswordMode(t *testing.T) {
	ctx := context.Background()
	super, err := pgx.Connect(ctx, az.PostgresDSN())
	if err != nil {
		t.Fatal(err)
	}
	defer super.Close(ctx)
	name, secret := "native_"+strings.ToLower(rand.Text()[:8]), rand.Text()
	if _, err := super.Exec(ctx, "CREATE ROLE "+name+" LOGIN PASSWORD '"+secret+"'"); err != nil {
		t.Fatal(err)
	}
	defer super.Exec(ctx, "DROP ROLE "+name)
	before := az.Counts().Requests
	params := "aad_auth=password sslmode=verify-full user=" + name + " password="
	for range 2 { // there is no cache to be filled
		db, err := connect(t, az.DSN(params+secret))
		if err != nil {
			t.Fatal(err)
		}
		if who := sessionUser(t, db); who != name {
			t.Errorf("signed in as %q", who)
		}
		db.Close()
	}
	_, err = connect(t, az.DSN(params+"wrong"))
	if err == nil || !strings.Contains(err.Error(), `password authentication failed for user "`+name+`"`) || strings.Contains(err.Error(), "Entra") {
		t.Errorf("a wrong password: %v", err)
	}
	if n := az.Counts().Requests - before; n != 0 {
		t.Errorf("%d token requests", n)
	}
}

// A PKCS#12 file in an encryption that azidentity cannot read is told from a wrong
// password by what to do about it.
func TestModernPKCS12(t *testing.T) {
	_, err := driver.NewConnector("host=h user=u aad_auth=client-certificate aad_tenant_id=t aad_client_id=c aad_client_certificate=" + testCertificates.write(t, testCertificates.pfxModern) + " aad_client_certificate_password=" + pfxPassword)
	if err == nil || !strings.Contains(err.Error(), "openssl pkcs12 -export -legacy") || strings.Contains(err.Error(), pfxPassword) {
		t.Errorf("got %v", err)
	}
}

// A person is asked once: when the token expires it is renewed without him.
func TestPersonIsAskedOnce(t *testing.T) {
	az.Faults.TokenLife(2 * time.Second)
	defer az.Faults.TokenLife(0)
	for _, w := range modeTests {
		if w.mode != "device-code" && w.mode != "interactive-browser" || w.unixOnly && runtime.GOOS == "windows" {
			continue
		}
		t.Run(w.mode, func(t *testing.T) {
			id := w.identity(t)
			o := &testTransport{client: *az.Client()}
			o.opts = []driver.Option{driver.WithTransport(o)}
			params := "aad_auth=" + w.mode + " " + w.setup(t, id, o)
			db := w.openDB(t, params, o)
			openConns(t, db, 1)
			az.Logout() // nobody would answer now
			seen := len(az.Requests())
			time.Sleep(2 * time.Second)
			openConns(t, w.openDB(t, params, o), 1)
			for _, r := range az.Requests()[seen:] {
				if r.Form.Get("grant_type") != "refresh_token" || r.Status != http.StatusOK {
					t.Errorf("asked %s, %s: %d", r.Path, r.Form.Get("grant_type"), r.Status)
				}
			}
			if seen == len(az.Requests()) {
				t.Error("the token was not renewed")
			}
		})
	}
}
