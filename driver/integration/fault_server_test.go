package integration

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	aad "github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/driver/emulator"
)

// An env is a proxyEnv in which everything between the driver and PostgreSQL can fail.
type env struct {
	*proxyEnv
	proxy       *proxy
	server      *postgres
	lookupErr   atomic.Pointer[net.DNSError] // returned by each lookup; nil: it succeeds
	certificate tls.Certificate
}

func newEnv(t testing.TB, name string) *env {
	p := newProxyEnv(t, name)
	return &env{
		proxyEnv:    p,
		proxy:       newProxy(t, p.gateway, nil),
		server:      newPostgres(t, p.az),
		certificate: *p.ca.sign(t, time.Now().Add(time.Hour)),
	}
}

// lookup resolves every host to 127.0.0.1, or fails with lookupErr.
func (e *env) lookup() aad.Option {
	return aad.WithConnConfig(func(c *pgx.ConnConfig) {
		c.LookupFunc = func(context.Context, string) ([]string, error) {
			if err := e.lookupErr.Load(); err != nil {
				return nil, err
			}
			return []string{"127.0.0.1"}, nil
		}
	})
}

// waitForRestart connects until the emulator has noticed that its own five sessions
// are gone.
func (e *env) waitForRestart(t testing.TB) {
	c := e.newConnector(t, e.proxy)
	defer c.Close()
	for range 6 {
		conn, err := e.connect(t, "after the restart", c, 5*time.Second)
		if err == nil {
			conn.Close()
			return
		}
	}
}

// A serverFault is a fault of PostgreSQL, or between the driver and PostgreSQL.
type serverFault struct {
	name, step, want string // step is the error's; "": connects succeed nevertheless
	start, stop      func(t testing.TB, e *env)
	group            string // at most one fault of a group is active; "": any number
	slow             bool   // takes the emulator seconds
}

func proxyFault(name, step, want string, d disruption) serverFault {
	return serverFault{
		name: name, step: step, want: want, group: "disruption",
		start: func(_ testing.TB, e *env) { e.proxy.setDisruption(func() *disruption { return &d }) },
		stop:  func(_ testing.TB, e *env) { e.proxy.setDisruption(nil) },
	}
}

// emulatorFault sets one of the emulator's faults, and its zero value to stop it.
func emulatorFault[V any](name, step, want string, set func(*emulator.Faults, V), value V) serverFault {
	var zero V
	return serverFault{
		name: name, step: step, want: want,
		start: func(_ testing.TB, e *env) { set(&e.az.Faults, value) },
		stop:  func(_ testing.TB, e *env) { set(&e.az.Faults, zero) },
	}
}

func pgError(code, text string) *pgconn.PgError { return &pgconn.PgError{Code: code, Message: text} }

func lookupFault(name, want string, lookupErr net.DNSError) serverFault {
	return serverFault{
		name: name, step: "network", want: want, group: "lookup",
		start: func(_ testing.TB, e *env) { e.lookupErr.Store(&lookupErr) },
		stop:  func(_ testing.TB, e *env) { e.lookupErr.Store(nil) },
	}
}

// listenerFault replaces the gateway by a listener that hands each connection to serve.
func listenerFault(name, step, want string, serve func(net.Conn, *env)) serverFault {
	var ln net.Listener
	start := func(t testing.TB, e *env) {
		e.proxy.stop()
		ln = listen(t, e.proxy.addr)
		go func() {
			for {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				go func() {
					defer conn.Close()
					serve(conn, e)
				}()
			}
		}()
	}
	stop := func(t testing.TB, e *env) {
		ln.Close()
		e.proxy.start(t)
	}
	return serverFault{name: name, step: step, want: want, start: start, stop: stop, group: "listener"}
}

var serverFaults = []serverFault{
	{name: "connections refused", step: "network", want: "nothing listens there", group: "listener",
		start: func(_ testing.TB, e *env) { e.proxy.stop() },
		stop:  func(t testing.TB, e *env) { e.proxy.start(t) }},
	proxyFault("silent after accept", "network", "timeout", disruption{at: position{part: "before"}, action: actionSilence}),
	emulatorFault("closed after accept", "network", "closes PostgreSQL connections", (*emulator.Faults).HangUp, true),
	proxyFault("slow at each message", "", "", disruption{delay: 30 * time.Millisecond}),
	proxyFault("too slow at each message", "network", "timeout", disruption{delay: 800 * time.Millisecond}),
	proxyFault("byte by byte", "", "", disruption{chunk: 1}),
	emulatorFault("long round trip", "", "", (*emulator.Faults).RoundTrip, 100*time.Millisecond),
	emulatorFault("slow sign-in", "network", "timeout", (*emulator.Faults).SignInDelay, time.Minute),
	emulatorFault("no TLS", "tls", "Azure always offers TLS", (*emulator.Faults).RefuseTLS, true),
	emulatorFault("expired certificate", "tls", "is not valid now", (*emulator.Faults).Certificate, emulator.ExpiredCertificate),
	emulatorFault("certificate name mismatch", "tls", "other-name.example", (*emulator.Faults).Certificate, emulator.WrongHostCertificate),
	emulatorFault("untrusted certificate", "tls", "sslrootcert", (*emulator.Faults).Certificate, emulator.UntrustedCertificate),
	listenerFault("TLS 1.1 at most", "tls", "protocol version", func(c net.Conn, e *env) {
		if acceptTLS(c) == nil {
			tls.Server(c, &tls.Config{Certificates: []tls.Certificate{e.certificate}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}).Handshake()
		}
	}),
	listenerFault("TLS accepted, plain answer", "tls", "what responds there is not PostgreSQL", func(c net.Conn, _ *env) {
		if acceptTLS(c) == nil {
			c.Write([]byte("R\x00\x00\x00\x08\x00\x00\x00\x00Z\x00\x00\x00\x05I")) // AuthenticationOk, ReadyForQuery
			c.Read(make([]byte, 1000))
		}
	}),
	listenerFault("error before TLS", "tls", "Azure always offers TLS", func(c net.Conn, _ *env) {
		c.Read(make([]byte, 8))
		c.Write([]byte("E\x00\x00\x00\x0aSFATAL\x00\x00"))
	}),
	listenerFault("not PostgreSQL", "tls", "what responds there is not PostgreSQL", func(c net.Conn, _ *env) {
		c.Write([]byte("SSH-2.0-OpenSSH_9.2\r\n"))
		c.Read(make([]byte, 1000))
	}),
	emulatorFault("too many connections", "sign-in", "lower SetMaxOpenConns", (*emulator.Faults).Refuse, pgError("53300", "sorry, too many clients already")),
	emulatorFault("starting up", "sign-in", "the server is starting or stopping", (*emulator.Faults).Refuse, pgError("57P03", "the database system is starting up")),
	emulatorFault("shutting down", "sign-in", "the server is starting or stopping", (*emulator.Faults).Refuse, pgError("57P03", "the database system is shutting down")),
	emulatorFault("endless error", "network", "the server sends more than a sign-in takes", (*emulator.Faults).Refuse, pgError("XX000", strings.Repeat("no ", 1<<20))),
	{name: "too many connections of the role", step: "sign-in", want: "lower SetMaxOpenConns", group: "server",
		start: func(_ testing.TB, e *env) { e.server.limit(e.credential.id.Name, 0) },
		stop:  func(_ testing.TB, e *env) { e.server.limit(e.credential.id.Name, -1) }},
	{name: "stopped", step: "sign-in", want: "emulator cannot", group: "server", slow: true,
		start: func(_ testing.TB, e *env) { e.server.pgCtl("stop", "-m", "fast") },
		stop:  func(_ testing.TB, e *env) { e.server.pgCtl("start") }},
	{name: "restarted", group: "server", slow: true,
		start: func(t testing.TB, e *env) { e.server.restart(); e.waitForRestart(t) },
		stop:  func(testing.TB, *env) {}},
	{name: "crashed", group: "server", slow: true,
		start: func(t testing.TB, e *env) { e.server.crash(); e.waitForRestart(t) },
		stop:  func(testing.TB, *env) {}},
	lookupFault("no such host", "private DNS zone", net.DNSError{Err: "no such host", Name: "emulator.test", IsNotFound: true}),
	lookupFault("name server fails", "private DNS zone", net.DNSError{Err: "server misbehaving", Name: "emulator.test", IsTemporary: true}),
	lookupFault("name server silent", "name servers: they do not respond", net.DNSError{Err: "i/o timeout", Name: "emulator.test", IsTimeout: true, IsTemporary: true}),
}

// acceptTLS reads an SSLRequest and accepts it.
func acceptTLS(c net.Conn) error {
	_, readErr := c.Read(make([]byte, 8))
	_, writeErr := c.Write([]byte("S"))
	return errors.Join(readErr, writeErr)
}

// TestFaultsOfTheServer covers each fault between the driver and PostgreSQL. Every
// caller gets the cause in time. The cached token is kept and goes nowhere that it must
// not. The first connect after the fault succeeds. Nothing leaks.
func TestFaultsOfTheServer(t *testing.T) {
	checkLeaks(t)
	e := newEnv(t, "served")
	c := e.newConnector(t, e.proxy, e.lookup())
	defer c.Close()
	e.mustConnect(t, "before", c)
	var count counter
	for _, f := range serverFaults {
		count.run(t, f.name, func(t *testing.T) bool {
			f.run(t, e, c)
			return true
		})
	}
	checkNoSessions(t, e.az)
	e.monitor.report(t)
	t.Logf("%s; token requests %d", &count, e.credential.calls.Load())
	if got := e.credential.calls.Load(); got != 1 {
		t.Errorf("token requests = %d, want 1: the cached token was valid throughout", got)
	}
}

func (f serverFault) run(t *testing.T, e *env, c *aad.Connector) {
	startups := len(e.az.Startups())
	f.start(t, e)
	var lastErr error
	for range 3 {
		conn, err := e.connect(t, f.name, c, 2*time.Second)
		if err == nil {
			conn.Close()
		}
		if (err == nil) != (f.step == "") {
			t.Errorf("Connect() = %v, want an error: %t", err, f.step != "")
		}
		lastErr = err
	}
	if f.step != "" {
		f.checkCause(t, lastErr)
	}
	if got := len(e.az.Startups()) - startups; f.step == "tls" && got > 0 {
		t.Errorf("startup packets = %d, want 0", got)
	}
	f.stop(t, e)
	stopped := time.Now()
	e.mustConnect(t, f.name, c)
	t.Logf("%-40s recovered in %s: %.300v", f.name, time.Since(stopped).Round(time.Millisecond), lastErr)
}

func (f serverFault) checkCause(t *testing.T, err error) {
	t.Helper()
	var e *aad.Error
	if !errors.As(err, &e) {
		t.Errorf("Connect() = %T %v, want a *driver.Error", err, err)
		return
	}
	if e.Step != f.step {
		t.Errorf("step = %q, want %q: %v", e.Step, f.step, err)
	}
	if !containsAny(err.Error(), f.want) {
		t.Errorf("Connect() = %v, want %q", err, f.want)
	}
}
