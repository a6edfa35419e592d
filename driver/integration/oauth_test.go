package integration

import (
	"bufio"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// find18 puts PostgreSQL 18 first on the PATH if it is not there: .ci/versions keeps it in a
// cache.
func find18(t *testing.T) {
	t.Helper()
	cache, _ := os.UserCacheDir()
	for _, dir := range []string{"", "/usr/lib/postgresql/18/bin", "/var/cache/aadpostgres/versions/18/bin", filepath.Join(cache, "aadpostgres/versions/18/bin")} {
		version, err := exec.Command(filepath.Join(dir, "postgres"), "--version").Output()
		if err != nil || !strings.Contains(string(version), " 18.") {
			continue
		}
		if dir != "" {
			t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
		}
		return
	}
	t.Skip("PostgreSQL 18 is not here; .ci/versions 18 gets it")
}

// buildValidator returns the module of testdata/oauth, where the server can read it.
func buildValidator(t *testing.T) string {
	t.Helper()
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("a C compiler (cc) is not here")
	}
	dir, err := os.MkdirTemp("", "aadpostgres-validator-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { // the server has a user of its own
		t.Fatal(err)
	}
	file := filepath.Join(dir, "validator.so")
	if out, err := exec.Command(cc, "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-o", file, "testdata/oauth/validator.c").CombinedOutput(); err != nil {
		t.Fatalf("cc: %v\n%s", err, out)
	}
	if err := os.Chmod(file, 0o755); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(file, ".so")
}

// An oauthServer is a real PostgreSQL 18 whose roles sign in over TLS by OAUTHBEARER, with
// tokens of an emulated Entra.
type oauthServer struct {
	az       *emulator.Azure
	port     uint16
	certFile string
	billing  emulator.Identity // with a role
	other    emulator.Identity // with a role
}

func newOAuthServer(t *testing.T) *oauthServer {
	t.Helper()
	find18(t)
	library := buildValidator(t)
	s := &oauthServer{az: emulator.Start(t)}
	s.billing = s.az.Add(emulator.Identity{Name: "billing", ClientID: newGUID(), ObjectID: newGUID()})
	s.other = s.az.Add(emulator.Identity{Name: "other", ClientID: newGUID(), ObjectID: newGUID()})
	ctx := t.Context()
	admin, err := pgx.Connect(ctx, s.az.PostgresDSN())
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(ctx)
	s.port = admin.Config().Port
	run := func(sql string) {
		t.Helper()
		if _, err := admin.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	// write lets the server write a file into its data directory, as its own user.
	write := func(name, text string) {
		t.Helper()
		run(fmt.Sprintf("COPY (SELECT unnest(string_to_array(trim(E'\\n' from $x$%s$x$), E'\\n'))) TO PROGRAM 'umask 077; cat > %s'", text, name))
	}
	cert, key := newServerCertificate(t)
	s.certFile = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(s.certFile, []byte(cert), 0o600); err != nil {
		t.Fatal(err)
	}
	var hba string
	if err := admin.QueryRow(ctx, "SELECT pg_read_file('pg_hba.conf')").Scan(&hba); err != nil {
		t.Fatal(err)
	}
	write("oauth.crt", cert)
	write("oauth.key", key)
	write("validator.port", s.listen(t))
	write("pg_hba.conf", `hostssl all all 127.0.0.1/32 oauth issuer="`+s.az.Authority()+emulator.TenantID+`/v2.0" scope="openid"`+"\n"+hba)
	for _, setting := range []string{"ssl = on", "ssl_cert_file = 'oauth.crt'", "ssl_key_file = 'oauth.key'", "oauth_validator_libraries = '" + library + "'"} {
		run("ALTER SYSTEM SET " + setting)
	}
	for _, role := range []string{"billing", "other"} {
		run("CREATE ROLE " + role + " LOGIN")
	}
	run("SELECT pg_reload_conf()")
	return s
}

// newServerCertificate returns a certificate for 127.0.0.1, and its key.
func newServerCertificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return cert, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
}

// listen answers the module, and returns the port.
func (s *oauthServer) listen(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(10 * time.Second))
				token, err := bufio.NewReader(conn).ReadString('\n')
				if err != nil {
					return
				}
				identity, err := s.validate(strings.TrimSpace(token))
				if err != nil {
					t.Logf("the validator refuses a token: %v", err)
				}
				if identity == "hang up" {
					return
				}
				fmt.Fprintln(conn, identity)
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		wg.Wait()
	})
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	return port
}

// validate verifies a token by the keys that Entra publishes, and returns the name of the
// identity that it was issued to.
func (s *oauthServer) validate(token string) (identity string, err error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "", errors.New("it is not a JWT")
	}
	key, err := s.publicKey()
	if err != nil {
		return "", err
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return "", err
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err := rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], signature); err != nil {
		return "", err
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return "", err
	}
	var claims struct {
		Aud, Oid, Tid, Test string
		Exp                 int64
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		return "", err
	}
	switch {
	case claims.Aud != emulator.Resource:
		return "", errors.New("it is for another audience")
	case claims.Tid != emulator.TenantID:
		return "", errors.New("it is of another tenant")
	case time.Now().Unix() >= claims.Exp:
		return "", errors.New("it has expired")
	case claims.Test != "":
		return claims.Test, nil
	case claims.Oid == s.billing.ObjectID:
		return s.billing.Name, nil
	case claims.Oid == s.other.ObjectID:
		return s.other.Name, nil
	}
	return "", errors.New("its identity is not known")
}

func (s *oauthServer) publicKey() (*rsa.PublicKey, error) {
	u, err := url.JoinPath(s.az.Authority(), emulator.TenantID, "discovery/v2.0/keys")
	if err != nil {
		return nil, err
	}
	response, err := s.az.Client().Get(u)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, errors.New(response.Status)
	}
	var set struct{ Keys []struct{ N, E string } }
	if err := json.NewDecoder(io.LimitReader(response.Body, 1<<20)).Decode(&set); err != nil {
		return nil, err
	}
	if len(set.Keys) == 0 {
		return nil, errors.New("there are no keys")
	}
	n, err := base64.RawURLEncoding.DecodeString(set.Keys[0].N)
	if err != nil {
		return nil, err
	}
	e, err := base64.RawURLEncoding.DecodeString(set.Keys[0].E)
	if err != nil {
		return nil, err
	}
	return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}, nil
}

// dsn returns the DSN of the server itself, with a token of id.
func (s *oauthServer) dsn(token string, params ...string) string {
	base := fmt.Sprintf("host=127.0.0.1 port=%d dbname=postgres user=billing sslrootcert=%s connect_timeout=10 aad_auth=access-token password=%s", s.port, s.certFile, token)
	return strings.Join(append([]string{base}, params...), " ")
}

// TestOAuthBearer signs in to a real PostgreSQL 18 by OAUTHBEARER.
func TestOAuthBearer(t *testing.T) {
	s := newOAuthServer(t)
	token := s.az.Token(s.billing, nil)
	checkSession := func(t *testing.T, row interface{ Scan(...any) error }) {
		t.Helper()
		var user, method string
		if err := row.Scan(&user, &method); err != nil {
			t.Fatal(err)
		}
		if got, want := user+" by "+method, "billing by oauth:billing"; got != want {
			t.Errorf("signed in as %q, want %q", got, want)
		}
	}
	const query = "SELECT session_user::text, system_user"
	signsIn := []struct {
		name   string
		params []string
	}{
		{"TLS is negotiated", nil},
		{"direct TLS", []string{"sslnegotiation=direct"}},
		{"auto", []string{"sslnegotiation=auto"}},
		{"protocol 3.2", []string{"max_protocol_version=3.2", "min_protocol_version=3.2"}},
		{"protocol 3.2, direct TLS", []string{"max_protocol_version=3.2", "sslnegotiation=direct"}},
		{"the newest protocol", []string{"max_protocol_version=latest"}},
		{"oauth is required", []string{"require_auth=oauth"}},
	}
	for _, row := range signsIn {
		t.Run(row.name, func(t *testing.T) {
			db := openDB(t, s.dsn(token, row.params...))
			db.SetMaxIdleConns(-1)
			for range 3 {
				checkSession(t, db.QueryRow(query))
			}
		})
	}
	t.Run("managed identity", func(t *testing.T) {
		s.az.Setenv(t)
		dsn := fmt.Sprintf("host=127.0.0.1 port=%d dbname=postgres sslrootcert=%s aad_auth=managed-identity aad_client_id=%s", s.port, s.certFile, s.billing.ClientID)
		checkSession(t, openDB(t, dsn).QueryRow(query))
	})
	t.Run("pgxpool", func(t *testing.T) {
		pool := newPool(t, s.dsn(token, "sslnegotiation=auto", "max_protocol_version=3.2"))
		for range 3 {
			checkSession(t, pool.QueryRow(t.Context(), query))
			pool.Reset()
		}
	})
	t.Run("doctor", func(t *testing.T) {
		got := map[string]string{}
		for check := range driver.Diagnose(t.Context(), s.dsn(token)) {
			if check.Err != nil {
				t.Fatal(check.Err)
			}
			got[check.Name] = check.Found
		}
		if want := "accepted, with sslnegotiation=auto"; !strings.HasPrefix(got["direct-tls"], want) {
			t.Errorf("direct-tls = %q, want it to begin with %q", got["direct-tls"], want)
		}
	})
	t.Run("a query is canceled", func(t *testing.T) {
		db := openDB(t, s.dsn(token, "max_protocol_version=3.2", "sslnegotiation=auto"))
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		if err := db.Ping(); err != nil {
			t.Fatal(err)
		}
		if _, err := db.ExecContext(ctx, "SELECT pg_sleep(30)"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the query = %v, want %v", err, context.DeadlineExceeded)
		}
	})
	claim := func(name string, value any) func(map[string]any) {
		return func(claims map[string]any) { claims[name] = value }
	}
	refusals := []struct {
		name   string
		token  string
		params []string
	}{
		{"another identity's token", s.az.Token(s.other, nil), nil},
		{"a role that does not exist", token, []string{"user=nobody"}},
		{"another identity's role", token, []string{"user=other"}},
		{"another audience", s.az.Token(s.billing, claim("aud", "https://management.azure.com")), []string{"aad_scope=https://management.azure.com/.default"}},
		{"another tenant", s.az.Token(s.billing, claim("tid", newGUID())), nil},
		{"an identity that is not known", s.az.Token(s.billing, claim("oid", newGUID())), nil},
		{"a signature that was changed", token[:len(token)-8] + "AAAAAAAA", nil},
		{"a validator that hangs up", s.az.Token(s.billing, claim("test", "hang up")), nil},
	}
	ways := []struct {
		name   string
		params []string
	}{
		{"negotiated", nil},
		{"direct TLS, protocol 3.2", []string{"sslnegotiation=direct", "max_protocol_version=3.2"}},
	}
	for _, row := range refusals {
		for _, way := range ways {
			t.Run(row.name+", "+way.name, func(t *testing.T) {
				db := openDB(t, s.dsn(row.token, append(row.params, way.params...)...))
				checkOAuthRefusal(t, db.Ping(), row.token)
			})
		}
	}
	t.Run("pgxpool, refused", func(t *testing.T) { // its errors are pgx's
		refused := s.az.Token(s.other, nil)
		pool := newPool(t, s.dsn(refused))
		err := pool.Ping(t.Context())
		checkError(t, err, "OAuth authentication failed: invalid_token")
		if err != nil && strings.Contains(err.Error(), refused) {
			t.Error("the error contains the token")
		}
	})
}

// newPool returns a pool of pgx's with the driver's tokens.
func newPool(t *testing.T, dsn string) *pgxpool.Pool {
	t.Helper()
	c, err := driver.NewConnector(dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	config, err := pgxpool.ParseConfig("")
	if err != nil {
		t.Fatal(err)
	}
	config.ConnConfig, config.BeforeConnect = c.Config(), c.BeforeConnect
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// checkOAuthRefusal checks the error of a token that the server refused.
func checkOAuthRefusal(t *testing.T, err error, token string) {
	t.Helper()
	t.Log(err)
	var e *driver.Error
	if !errors.As(err, &e) {
		t.Fatalf("err = %v, want a *driver.Error", err)
	}
	if got, want := e.Step, driver.StepSignIn; got != want {
		t.Errorf("step = %q, want %q", got, want)
	}
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || pg.Code != "28000" {
		t.Errorf("err = %v, want a *pgconn.PgError of code 28000", err)
	}
	for _, want := range []string{"role", "validator"} {
		if !strings.Contains(e.Hint, want) {
			t.Errorf("hint = %q, want %q in it", e.Hint, want)
		}
	}
	if strings.Contains(err.Error(), token) {
		t.Error("the error contains the token")
	}
}
