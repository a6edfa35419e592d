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
	a.dir = filepath.Join(os.TempDir(), "aadpostgres-emulator-"+rand.Text())
	if err = a.postgres.keep(a.dir); err != nil {
		return nil, err
	}
	if err = os.Mkdir(a.dir, 0o700); err != nil {
		return nil, err
	}
	keys := make(chan error, 1) // they are made while the server starts
	go func() { keys <- a.makeKeys() }()
	err = a.postgres.start(ctx)
	if err == nil {
		err = a.postgres.provision(ctx, a.single)
	}
	if err = cmp.Or(err, <-keys); err != nil {
		return nil, err
	}
	a.entra = httptest.NewUnstartedServer(a.entraHandler())
	a.entra.TLS = a.ca.config()
	a.entra.StartTLS()
	a.host = httptest.NewServer(a.hostHandler())
	a.client = a.newClient()
	if a.gateway, err = listen(a, &a.postgres); err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(a.granted, func(g granted) bool { return g.id.Name == "app" }) {
		a.granted = append([]granted{{Identity{Name: "app"}, false}}, a.granted...)
	}
	for _, g := range a.granted {
		if err := a.grant(ctx, a.Add(g.id), g.admin); err != nil {
			return nil, fmt.Errorf("emulator: the role of %s: %w", g.id.Name, err)
		}
	}
	return a, nil
}

func (a *Azure) makeKeys() (err error) {
	if a.ca, err = newAuthority(); err != nil {
		return err
	}
	if err = os.WriteFile(a.CertFile(), a.ca.pem, 0o644); err != nil {
		return err
	}
	if a.signer, err = newSigner(); err != nil {
		return err
	}
	a.verifier, err = verifier(a.password)
	return err
}

// Close stops everything and removes what was created. It waits until
// PostgreSQL has ended, and may be called twice.
func (a *Azure) Close() error { return a.close() }

func (a *Azure) shutdown() error {
	var errs []error
	if a.gateway != nil {
		a.gateway.close()
	}
	a.mu.Lock()
	served := a.served
	a.mu.Unlock()
	for _, g := range served {
		g.close()
		g.server.pool.Close()
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
