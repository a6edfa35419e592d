// Package emulator is an Azure to test against, in the spirit of
// net/http/httptest: an Entra that issues real tokens, a gateway that signs in
// as Azure Database for PostgreSQL does, and a real PostgreSQL behind it. It takes a
// fraction of a second to start.
//
//	az := emulator.Start(t)
//	az.Setenv(t)
//	db, err := sql.Open("aadpostgres", az.DSN("aad_auth=managed-identity"))
//
// [Start] is for a test, [New] for a TestMain. Both know the identity "app", which
// has a role and is the managed identity of the host, unless an option gives another of
// that name.
//
// Roles: [WithIdentity] and [WithAdmin] add identities that have one from the start,
// [Azure.Add] and [Azure.Grant] later. Or by SQL as on Azure, in a session of an
// administrator. [WithSingleServer] is the older kind of server.
//
// Hosts: [Azure.SetenvOn] makes the test run in Kubernetes, in a pipeline, on a
// workstation and so on. The authorities of every cloud, and the metadata service of a
// virtual machine, are played for those who ask by [Azure.Client]:
//
//	az := emulator.Start(t, emulator.WithIdentity(emulator.Identity{Name: "billing"}))
//	az.SetenvOn(t, emulator.Kubernetes, az.Identity("billing"))
//	c, err := driver.NewConnector(az.DSN("user=billing aad_auth=workload-identity"), driver.WithTransport(az.Client()))
//
// Parallel tests cannot set the environment. They share one emulator, have a
// database each and need no variable:
//
//	c, err := driver.NewConnector(az.Database(t).DSN("aad_auth=managed-identity"), driver.WithTransport(az.Client()))
//
// Code that opens by name gets one of the test's own:
//
//	driver.Register("emulated", driver.WithTransport(az.Client())) // once, in TestMain
//	db, err := sql.Open("emulated", az.Database(t).DSN("aad_auth=managed-identity"))
//
// Or a token with the DSN:
//
//	db, err := sql.Open("aadpostgres", az.Database(t).DSN("user=app aad_auth=access-token", "password="+az.Token(az.Identity("app"), nil)))
//
// Faults: [Faults] has a knob for what may go wrong, from expired tokens to wrong
// certificates; [Azure.Counts], [Azure.Requests] and [Azure.Startups] tell what was
// asked for. They are the whole emulator's, and the driver remembers a failure for a
// while: a test that turns a knob starts an emulator of its own.
//
// Other languages: [Azure.Command] runs any program where a host's identity and
// the server are in its environment, and so does, without Go, the command emulate.
//
// PostgreSQL is that of this machine, or one that is downloaded, or the given one:
// [WithPostgres] or AADPOSTGRES_EMULATOR_POSTGRES, a superuser's DSN. What is slow to
// make is kept in the user's cache folder or, where set, AADPOSTGRES_EMULATOR_CACHE. A
// server's data is in memory if there is /dev/shm with 1 GiB to spare and no TMPDIR,
// and is gone when its program is, however that ends (on Windows, when it is closed).
//
// It listens on 127.0.0.1 only. Nothing in it is fit for production.
package emulator

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
)

// ServerName is the name of the emulated single server: users end in
// "@" + ServerName there.
const ServerName = "emulator"

// TenantID is the one tenant that the emulator has.
const TenantID = "11111111-2222-3333-4444-555555555555"

// Azure is a running emulator. It is safe for concurrent use.
type Azure struct {
	Faults Faults // knobs; zero is none

	single   bool
	granted  []granted // at the start
	dir      string    // holds the CA's certificate
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
	granting sync.Mutex
	gateway  *gateway

	mu         sync.Mutex
	identities []Identity
	unknown    error // why PostgreSQL does not know some of them
	startups   []map[string]string
	asked      []Request
	person     *Identity           // of Login
	pending    map[string]*pending // codes and refresh tokens
	served     []*gateway          // by Serve

	requests, tokens, signIns, refused atomic.Int64

	revoked  atomic.Int64 // tokens with a lower serial are
	browsing sync.WaitGroup
	close    func() error
}

// DSN is a DSN for the driver aadpostgres: host, port, database and the
// emulator's certificate authority, followed by params such as "user=app".
func (a *Azure) DSN(params ...string) string {
	return a.dsn(a.postgres.database(), params)
}

// URL is the same as a URL, for tools that want one: postgres://127.0.0.1:port/name
// with params, each a key=value, as its query.
func (a *Azure) URL(params ...string) string {
	return a.url("127.0.0.1", a.postgres.database(), params)
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
