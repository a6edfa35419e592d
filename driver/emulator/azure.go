// Package emulator is an Azure to test against, in the spirit of
// net/http/httptest: an Entra that issues real tokens, a gateway that signs in
// as Azure Database for PostgreSQL does, and a real PostgreSQL behind it.
//
//	az := emulator.Start(t)
//	az.Setenv(t)
//	db, err := sql.Open("aadpostgres", az.DSN("aad_auth=managed-identity"))
//
// [Azure.SetenvOn] makes the test run elsewhere: in Kubernetes, in a pipeline, on a
// workstation. The authorities of every cloud, and the metadata service of a
// virtual machine, are played for those who ask by [Azure.Client]:
//
//	id := az.Add(emulator.Identity{Name: "billing"})
//	err := az.Grant(ctx, id)
//	az.SetenvOn(t, emulator.Kubernetes, id)
//	c, err := driver.NewConnector(az.DSN("user=billing aad_auth=workload-identity"), driver.WithTransport(az.Client()))
//
// Roles may also be made as on Azure, by SQL: [Azure.GrantAdmin] makes the
// administrator whose sessions can.
//
// It listens on 127.0.0.1 only. Nothing in it is fit for production.
package emulator

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// ServerName is the name of the emulated single server: users end in
// "@" + ServerName there.
const ServerName = "emulator"

// TenantID is the one tenant that the emulator has.
const TenantID = "11111111-2222-3333-4444-555555555555"

// An Option changes what [New] starts.
type Option func(*Azure)

// WithPostgres uses the server of that superuser DSN instead of starting one. One
// emulator at a time may, and Close leaves the server as it was found. Azure's
// functions go to its database postgres, which there must be.
func WithPostgres(dsn string) Option { return func(a *Azure) { a.postgres.dsn = dsn } }

// WithSingleServer emulates single server: user names end in "@" + [ServerName].
func WithSingleServer() Option { return func(a *Azure) { a.single = true } }

// Azure is a running emulator. It is safe for concurrent use.
type Azure struct {
	Faults Faults // knobs; zero is none

	single   bool
	dir      string // holds the CA's certificate and PostgreSQL's data
	ca       *authority
	signer   *signer
	entra    *httptest.Server
	host     *httptest.Server // what programs find on their host
	client   *http.Client
	header   string // the host's secret
	postgres postgres
	password string // of the gateway, for all roles of Entra's
	verifier string // that PostgreSQL has of it
	adopting sync.Mutex
	gateway  *gateway

	mu         sync.Mutex
	identities []Identity
	unknown    error // why PostgreSQL does not know some of them
	startups   []map[string]string
	asked      []Request
	person     *Identity           // of Login
	pending    map[string]*pending // codes and refresh tokens

	requests, tokens, signIns, refused atomic.Int64

	revoked  atomic.Int64 // tokens with a lower serial are
	browsing sync.WaitGroup
	close    func() error
}

// Start starts an emulator that stops when t ends. It fails t when it cannot.
func Start(t testing.TB, opts ...Option) *Azure {
	t.Helper()
	a, err := New(context.Background(), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

// New starts an emulator, which the caller must close. It knows one identity,
// "app", the host's system-assigned managed identity, and has a role for it.
func New(ctx context.Context, opts ...Option) (_ *Azure, err error) {
	a := &Azure{header: rand.Text(), password: rand.Text(), pending: map[string]*pending{}}
	a.postgres.dsn = os.Getenv("AADPOSTGRES_EMULATOR_POSTGRES")
	for _, opt := range opts {
		opt(a)
	}
	a.close = sync.OnceValue(a.shutdown)
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Close())
		}
	}()
	if a.dir, err = os.MkdirTemp("", "aadpostgres-emulator-"); err != nil {
		return nil, err
	}
	if a.ca, err = newAuthority(); err != nil {
		return nil, err
	}
	if err = os.WriteFile(a.CertFile(), a.ca.pem, 0o644); err != nil {
		return nil, err
	}
	if a.signer, err = newSigner(); err != nil {
		return nil, err
	}
	if a.verifier, err = verifier(a.password); err != nil {
		return nil, err
	}
	if err = a.postgres.start(ctx, filepath.Join(a.dir, "data")); err != nil {
		return nil, err
	}
	if err = a.postgres.provision(ctx, a.single); err != nil {
		return nil, err
	}
	a.entra = httptest.NewUnstartedServer(a.entraHandler())
	a.entra.TLS = a.ca.config()
	a.entra.StartTLS()
	a.host = httptest.NewServer(a.hostHandler())
	a.client = a.newClient()
	if a.gateway, err = listen(a); err != nil {
		return nil, err
	}
	return a, a.Grant(ctx, a.Add(Identity{Name: "app"}))
}

// Close stops everything and removes what was created. It waits until
// PostgreSQL has ended, and may be called twice.
func (a *Azure) Close() error { return a.close() }

func (a *Azure) shutdown() error {
	var errs []error
	if a.gateway != nil {
		a.gateway.close()
	}
	a.browsing.Wait()
	if a.client != nil {
		a.client.CloseIdleConnections()
	}
	for _, s := range []*httptest.Server{a.entra, a.host} {
		if s != nil {
			s.CloseClientConnections()
			s.Close()
		}
	}
	a.mu.Lock()
	errs = append(errs, a.unknown)
	a.mu.Unlock()
	errs = append(errs, a.postgres.stop())
	if a.dir != "" {
		errs = append(errs, os.RemoveAll(a.dir))
	}
	return errors.Join(errs...)
}

// DSN is a DSN for the driver aadpostgres: host, port, database and the
// emulator's certificate authority, followed by params such as "user=app".
func (a *Azure) DSN(params ...string) string {
	return strings.Join(append([]string{fmt.Sprintf("host=127.0.0.1 port=%d dbname=%s sslrootcert=%s",
		a.Port(), quote(a.postgres.database()), quote(a.CertFile()))}, params...), " ")
}

// quote makes any value fit for a DSN: temporary folders have spaces and, on
// Windows, backslashes. Most values stay as they are, easy to read and to edit.
func quote(value string) string {
	if value != "" && !strings.ContainsAny(value, ` \'`) {
		return value
	}
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(value) + "'"
}

// Port is where the gateway listens, on 127.0.0.1.
func (a *Azure) Port() int { return a.gateway.port }

// PostgresDSN leads past the gateway, as superuser, to set things up.
func (a *Azure) PostgresDSN() string { return a.postgres.dsn }

// CertFile is the PEM file of the authority that signed the emulator's certificates.
func (a *Azure) CertFile() string { return filepath.Join(a.dir, "ca.pem") }

// Authority is the URL of the emulated Entra, for aad_authority_host.
func (a *Azure) Authority() string { return a.entra.URL + "/" }

// Environ is what a program needs in its environment to meet the emulator as
// its managed identity endpoint and authority, as KEY=value. Where Go reads
// SSL_CERT_FILE (not on macOS and Windows) the program also trusts it.
func (a *Azure) Environ() []string {
	return []string{
		"IDENTITY_ENDPOINT=" + a.host.URL + "/msi/token",
		"IDENTITY_HEADER=" + a.header,
		"AZURE_AUTHORITY_HOST=" + a.Authority(),
		"AZURE_TENANT_ID=" + TenantID,
		"SSL_CERT_FILE=" + a.CertFile(),
	}
}

// Setenv sets the managed identity variables of Environ for the length of t.
func (a *Azure) Setenv(t testing.TB) {
	for _, kv := range a.Environ()[:2] {
		name, v, _ := strings.Cut(kv, "=")
		t.Setenv(name, v)
	}
}
