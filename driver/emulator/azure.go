// Package emulator emulates Azure for tests, as net/http/httptest emulates a web server.
//
// Call [Start] in a test, or [New] in a TestMain:
//
//	az := emulator.Start(t)
//	az.Setenv(t)
//	db, err := sql.Open("aadpostgres", az.DSN("aad_auth=managed-identity"))
//
// Both start three servers on 127.0.0.1 in a fraction of a second: an Entra that issues
// signed tokens, a gateway that authenticates clients as Azure Database for PostgreSQL
// does, and a real PostgreSQL behind the gateway. Both create the identity "app", which
// has a PostgreSQL role and is the host's managed identity, unless an option adds
// another identity of that name.
//
// # Identities and roles
//
// [WithIdentity] and [WithAdmin] add identities that have a role from the start.
// [Azure.Add] and [Azure.Grant] do so later. An Entra administrator can also create
// roles by SQL, as on Azure. [WithSingleServer] emulates single server, the older server
// type.
//
// # Hosts
//
// [Azure.SetenvOn] sets the environment variables of Kubernetes, of a pipeline, of a
// workstation and of other hosts. [Azure.Client] is an HTTP client for which the
// authorities of every cloud, and the metadata service of a virtual machine, are the
// emulator:
//
//	az := emulator.Start(t, emulator.WithIdentity(emulator.Identity{Name: "billing"}))
//	az.SetenvOn(t, emulator.Kubernetes, az.Identity("billing"))
//	c, err := driver.NewConnector(az.DSN("user=billing aad_auth=workload-identity"), driver.WithTransport(az.Client()))
//
// # Parallel tests
//
// Parallel tests cannot set environment variables. They can share one emulator and use
// one database each, without any variable:
//
//	c, err := driver.NewConnector(az.Database(t).DSN("aad_auth=managed-identity"), driver.WithTransport(az.Client()))
//
// Code that calls sql.Open itself can use a driver that the test registers:
//
//	driver.Register("emulated", driver.WithTransport(az.Client())) // once, in TestMain
//	db, err := sql.Open("emulated", az.Database(t).DSN("aad_auth=managed-identity"))
//
// It can also use a DSN with a token:
//
//	db, err := sql.Open("aadpostgres", az.Database(t).DSN("user=app aad_auth=access-token", "password="+az.Token(az.Identity("app"), nil)))
//
// # Faults
//
// [Faults] injects failures, from expired tokens to wrong certificates. [Azure.Counts],
// [Azure.Requests] and [Azure.Startups] report what clients requested. All of them
// concern the whole emulator, and the driver remembers a failure for a while. A test that
// injects a fault should therefore start its own emulator.
//
// # Other languages
//
// [Azure.Command] runs a program in any language with a host's identity and the server
// in its environment. The command emulate does the same without a Go test. The program
// needs no change: its proxy is the emulator's, which leads the authorities of every
// cloud to the emulated Entra and refuses every other host.
//
// # PostgreSQL
//
// The emulator runs the PostgreSQL that is installed on this machine, or downloads one. If
// several are installed, it runs the one whose initdb is first on the PATH.
// [WithPostgres], or the environment variable AADPOSTGRES_EMULATOR_POSTGRES with a
// superuser's DSN, makes it use a running server instead. The version must be 13 or
// newer. The variables of libpq, such as PGOPTIONS, have no effect on the emulator and on
// the meaning of that DSN.
//
// The emulator keeps downloads and an initialized cluster in the user's cache directory,
// or in AADPOSTGRES_EMULATOR_CACHE if that is set. The server's data directory is in
// /dev/shm if that exists with 1 GiB to spare and TMPDIR is not set. It is removed when
// the program ends, even if the program is killed; on Windows it is removed by
// [Azure.Close].
//
// Nothing in this package is fit for production.
package emulator

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
)

// ServerName is the name of the emulated single server. Its user names end in
// "@" + ServerName.
const ServerName = "emulator"

// TenantID is the id of the emulator's only tenant.
const TenantID = "11111111-2222-3333-4444-555555555555"

// Azure is a running emulator. [Start] and [New] create one. Its methods are safe for
// concurrent use.
type Azure struct {
	// Faults injects failures. The zero value injects none.
	Faults Faults

	single          bool // single server
	initialGrants   []initialGrant
	dir             string // holds the CA's certificate and the hosts' files
	ca              *certAuthority
	signer          *signer
	entra           *httptest.Server
	host            *httptest.Server // the endpoints that a host offers to its programs
	secureHost      *httptest.Server // the same by https, which a pipeline's endpoint requires
	hostSecret      string           // that a program presents to host
	proxy           *proxy           // of a host's programs
	client          *http.Client
	postgres        postgres
	gateway         *gateway
	gatewayPassword string     // of all Entra roles in PostgreSQL
	gatewayVerifier string     // what PostgreSQL stores of gatewayPassword
	passwordMu      sync.Mutex // held while a role's password is changed
	grantMu         sync.Mutex // held while a role is created

	mu                 sync.Mutex // guards the fields below; never held across a request or a query
	identities         []Identity
	directoryErr       error // why PostgreSQL does not know some of them
	startups           []map[string]string
	recordedRequests   []Request
	loggedInUser       *Identity                // set by Login
	pendingGrants      map[string]*pendingGrant // by code or refresh token
	additionalGateways []*gateway               // started by Serve

	tokenRequests, issuedTokens, signIns, refusedSignIns atomic.Int64

	minSerial atomic.Int64 // tokens with a lower serial are revoked
	browserWG sync.WaitGroup
	close     func() error
}

// DSN returns a DSN for the driver aadpostgres. It names the host, the port, the
// database and the emulator's certificate authority, followed by params such as
// "user=app".
func (a *Azure) DSN(params ...string) string {
	return a.dsn(a.postgres.database(), params)
}

// URL returns the same as [Azure.DSN] in the form postgres://127.0.0.1:port/database.
// Each of params is a key=value, which becomes part of the query.
func (a *Azure) URL(params ...string) string {
	return a.url("127.0.0.1", a.postgres.database(), params)
}

// quote quotes a value for a DSN if that is necessary: temporary directories have spaces
// and, on Windows, backslashes.
func quote(value string) string {
	if value != "" && !strings.ContainsAny(value, ` \'`) {
		return value
	}
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(value) + "'"
}

// Port returns the port of 127.0.0.1 on which the gateway listens.
func (a *Azure) Port() int { return a.gateway.port }

// PostgresDSN returns a superuser's DSN that bypasses the gateway, for setup.
func (a *Azure) PostgresDSN() string { return a.postgres.dsn }

// CertFile returns the path of a PEM file with the certificate of the authority that
// signed the emulator's certificates.
func (a *Azure) CertFile() string { return filepath.Join(a.dir, "ca.pem") }

// Authority returns the URL of the emulated Entra, for aad_authority_host.
func (a *Azure) Authority() string { return a.entra.URL + "/" }
