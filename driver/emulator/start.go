package emulator

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

// Start starts an emulator and closes it when t ends. It calls t.Fatal if the emulator
// does not start, and t.Error if [Azure.Close] fails.
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

// New starts an emulator. The caller must close it. ctx bounds the start only. The
// emulator has one identity, "app", which is the host's system-assigned managed identity
// and has a PostgreSQL role; opts add others.
func New(ctx context.Context, opts ...Option) (_ *Azure, err error) {
	a := &Azure{hostSecret: rand.Text(), gatewayPassword: rand.Text(), pendingGrants: map[string]*pendingGrant{}}
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
	a.dir = filepath.Join(os.TempDir(), "aadpostgres-emulator-"+rand.Text())
	if err := a.postgres.removeLater(a.dir); err != nil {
		return nil, err
	}
	if err := os.Mkdir(a.dir, 0o700); err != nil {
		return nil, err
	}
	a.postgres.serviceFile = filepath.Join(a.dir, "pg_service.conf")
	if err := os.WriteFile(a.postgres.serviceFile, []byte("["+emptyService+"]\n"), 0o600); err != nil {
		return nil, err
	}
	if err := a.startPostgres(ctx); err != nil {
		return nil, err
	}
	if err := a.listen(); err != nil {
		return nil, err
	}
	if err := a.addInitialRoles(ctx); err != nil {
		return nil, err
	}
	return a, nil
}

// startPostgres starts and provisions PostgreSQL, and creates the keys meanwhile.
func (a *Azure) startPostgres(ctx context.Context) error {
	keys := make(chan error, 1)
	go func() { keys <- a.makeKeys() }()
	err := a.postgres.start(ctx)
	if err == nil {
		err = a.postgres.provision(ctx, a.single)
	}
	return cmp.Or(err, <-keys)
}

func (a *Azure) makeKeys() (err error) {
	if a.ca, err = newCertAuthority(); err != nil {
		return err
	}
	if err = os.WriteFile(a.CertFile(), a.ca.rootPEM, 0o644); err != nil {
		return err
	}
	if a.signer, err = newSigner(); err != nil {
		return err
	}
	a.gatewayVerifier, err = scramVerifier(a.gatewayPassword)
	return err
}

// listen starts Entra, the host's endpoints, the proxy and the gateway.
func (a *Azure) listen() (err error) {
	a.entra = httptest.NewUnstartedServer(a.entraHandler())
	a.entra.TLS = a.ca.tlsConfig()
	a.entra.StartTLS()
	a.host = httptest.NewServer(a.hostHandler())
	a.secureHost = httptest.NewUnstartedServer(a.hostHandler())
	a.secureHost.TLS = a.ca.tlsConfig()
	a.secureHost.StartTLS()
	a.proxy = newProxy(a.entra.Listener.Addr())
	a.client = a.newClient()
	a.gateway, err = newGateway(a, &a.postgres)
	return err
}

// addInitialRoles adds the identities of the options, and "app" unless it is among them.
func (a *Azure) addInitialRoles(ctx context.Context) error {
	grants := a.initialGrants
	if !slices.ContainsFunc(grants, func(g initialGrant) bool { return g.id.Name == "app" }) {
		grants = append([]initialGrant{{id: Identity{Name: "app"}}}, grants...)
	}
	for _, g := range grants {
		if err := a.grant(ctx, a.Add(g.id), g.admin); err != nil {
			return fmt.Errorf("emulator: the role of %s: %w", g.id.Name, err)
		}
	}
	return nil
}

// Close stops the emulator, waits until PostgreSQL has ended and removes the emulator's
// files. It may be called more than once; later calls return the first call's error.
func (a *Azure) Close() error { return a.close() }

func (a *Azure) shutdown() error {
	if a.gateway != nil {
		a.gateway.close()
	}
	a.mu.Lock()
	gateways := a.additionalGateways
	a.mu.Unlock()
	for _, g := range gateways {
		g.close()
		g.server.pool.Close()
	}
	a.browserWG.Wait()
	if a.client != nil {
		a.client.CloseIdleConnections()
	}
	if a.proxy != nil {
		a.proxy.close()
	}
	for _, s := range []*httptest.Server{a.entra, a.host, a.secureHost} {
		if s != nil {
			s.CloseClientConnections()
			s.Close()
		}
	}
	a.mu.Lock()
	err := a.directoryErr
	a.mu.Unlock()
	err = errors.Join(err, a.postgres.stop())
	if a.dir != "" {
		err = errors.Join(err, os.RemoveAll(a.dir))
	}
	return err
}
