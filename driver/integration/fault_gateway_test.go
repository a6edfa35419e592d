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

// A street is a line with all that may be wrong on it.
type street struct {
	*line
	proxy  *proxy
	server *backend
	lost   atomic.Pointer[net.DNSError]
	cert   tls.Certificate
}

func newStreet(t testing.TB, name string) *street {
	l := newLine(t, name)
	return &street{line: l, proxy: newProxy(t, l.gateway, nil), server: serverOf(t, l.az), cert: *l.issuer.sign(t, time.Now().Add(time.Hour))}
}

// names looks hosts up, as well as names can be looked up just now.
func (s *street) names() aad.Option {
	return aad.WithConnConfig(func(c *pgx.ConnConfig) {
		c.LookupFunc = func(context.Context, string) ([]string, error) {
			if e := s.lost.Load(); e != nil {
				return nil, e
			}
			return []string{"127.0.0.1"}, nil
		}
	})
}

// settle waits until the emulator has seen that its own five sessions are gone.
func (s *street) settle(t testing.TB) {
	c := s.through(t, s.proxy)
	defer c.Close()
	for range 6 {
		if conn, err := s.connect(t, "settling", c, 5*time.Second); err == nil {
			conn.Close()
			return
		}
	}
}

// A trouble is a fault between the driver and PostgreSQL, or of the latter.
type trouble struct {
	name, step, says string // no step: it works nevertheless
	on, off          func(t testing.TB, s *street)
	place            string // where there can be but one at a time
}

func through(name, step, says string, p plan) trouble {
	return trouble{name, step, says, func(_ testing.TB, s *street) { s.proxy.set(func() *plan { return &p }) }, func(_ testing.TB, s *street) { s.proxy.set(nil) }, "plan"}
}

// turning turns one of the emulator's knobs.
func turning[V any](name, step, says string, turn func(*emulator.Faults, V), on V) trouble {
	var off V
	return trouble{name, step, says, func(_ testing.TB, s *street) { turn(&s.az.Faults, on) }, func(_ testing.TB, s *street) { turn(&s.az.Faults, off) }, ""}
}

func refusal(code, text string) *pgconn.PgError { return &pgconn.PgError{Code: code, Message: text} }

func losing(name, says string, e net.DNSError) trouble {
	return trouble{name, "network", says, func(_ testing.TB, s *street) { s.lost.Store(&e) }, func(_ testing.TB, s *street) { s.lost.Store(nil) }, "names"}
}

// playServer puts a listener of the row's own in the gateway's place.
func playServer(name, step, says string, play func(net.Conn, *street)) trouble {
	var ln net.Listener
	return trouble{name, step, says, func(t testing.TB, s *street) {
		s.proxy.down()
		ln = relisten(t, s.proxy.addr)
		go func() {
			for {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				go func() {
					defer conn.Close()
					play(conn, s)
				}()
			}
		}()
	}, func(t testing.TB, s *street) { ln.Close(); s.proxy.up(t) }, "listener"}
}

var troubles = []trouble{
	{"refusing connections", "network", "nothing listens there", func(_ testing.TB, s *street) { s.proxy.down() }, func(t testing.TB, s *street) { s.proxy.up(t) }, "listener"},
	{"taking connections, saying nothing", "network", "timeout", func(t testing.TB, s *street) {
		s.proxy.set(func() *plan { return &plan{at: spot{where: "before"}, how: silent} })
	}, func(_ testing.TB, s *street) { s.proxy.set(nil) }, "plan"},
	turning("hanging up", "network", "cuts PostgreSQL off", (*emulator.Faults).HangUp, true),
	through("slow at each message", "", "", plan{slow: 30 * time.Millisecond}),
	through("too slow at each message", "network", "timeout", plan{slow: 800 * time.Millisecond}),
	through("byte by byte", "", "", plan{drip: 1}),
	turning("far away", "", "", (*emulator.Faults).RoundTrip, 100*time.Millisecond),
	turning("slow to judge", "network", "timeout", (*emulator.Faults).SignInDelay, time.Minute),
	turning("no TLS", "tls", "Azure always speaks TLS", (*emulator.Faults).RefuseTLS, true),
	turning("an expired certificate", "tls", "does not hold now", (*emulator.Faults).Certificate, emulator.ExpiredCertificate),
	turning("another's certificate", "tls", "other-name.example", (*emulator.Faults).Certificate, emulator.WrongHostCertificate),
	turning("a stranger's certificate", "tls", "sslrootcert", (*emulator.Faults).Certificate, emulator.UntrustedCertificate),
	playServer("TLS 1.1 at most", "tls", "protocol version", func(c net.Conn, s *street) {
		if answerTLS(c) == nil {
			tls.Server(c, &tls.Config{Certificates: []tls.Certificate{s.cert}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}).Handshake()
		}
	}),
	playServer("yes to TLS, and then none", "tls", "what answers there is no PostgreSQL", func(c net.Conn, _ *street) {
		if answerTLS(c) == nil {
			c.Write([]byte("R\x00\x00\x00\x08\x00\x00\x00\x00Z\x00\x00\x00\x05I")) // let in
			c.Read(make([]byte, 1000))
		}
	}),
	playServer("an error before TLS", "tls", "Azure always speaks TLS", func(c net.Conn, _ *street) {
		c.Read(make([]byte, 8))
		c.Write([]byte("E\x00\x00\x00\x0aSFATAL\x00\x00"))
	}),
	playServer("no PostgreSQL", "tls", "what answers there is no PostgreSQL", func(c net.Conn, _ *street) { c.Write([]byte("SSH-2.0-OpenSSH_9.2\r\n")); c.Read(make([]byte, 1000)) }),
	turning("out of connections", "sign-in", "lower SetMaxOpenConns", (*emulator.Faults).Refuse, refusal("53300", "sorry, too many clients already")),
	turning("starting up", "sign-in", "the server is starting or stopping", (*emulator.Faults).Refuse, refusal("57P03", "the database system is starting up")),
	turning("going down", "sign-in", "the server is starting or stopping", (*emulator.Faults).Refuse, refusal("57P03", "the database system is shutting down")),
	turning("a refusal without end", "network", "the server says more than a sign-in takes", (*emulator.Faults).Refuse, refusal("XX000", strings.Repeat("no ", 1<<20))),
	{"out of connections for the role", "sign-in", "lower SetMaxOpenConns", func(_ testing.TB, s *street) { s.server.limit(s.cred.id.Name, 0) }, func(_ testing.TB, s *street) { s.server.limit(s.cred.id.Name, -1) }, "server"},
	{"stopped", "sign-in", "emulator cannot", func(_ testing.TB, s *street) { s.server.run("stop", "-m", "fast") }, func(_ testing.TB, s *street) { s.server.run("start") }, "server"},
	{"restarted", "", "", func(t testing.TB, s *street) { s.server.restart(); s.settle(t) }, func(testing.TB, *street) {}, "server"},
	{"crashed", "", "", func(t testing.TB, s *street) { s.server.crash(); s.settle(t) }, func(testing.TB, *street) {}, "server"},
	losing("a name that is not known", "private DNS zone", net.DNSError{Err: "no such host", Name: "emulator.test", IsNotFound: true}),
	losing("name servers out of order", "private DNS zone", net.DNSError{Err: "server misbehaving", Name: "emulator.test", IsTemporary: true}),
	losing("name servers that say nothing", "name servers: they do not answer", net.DNSError{Err: "i/o timeout", Name: "emulator.test", IsTimeout: true, IsTemporary: true}),
}

// answerTLS says yes to a request for TLS.
func answerTLS(c net.Conn) error {
	_, err := c.Read(make([]byte, 8))
	_, err2 := c.Write([]byte("S"))
	return errors.Join(err, err2)
}

// Everything that may be wrong between the driver and PostgreSQL: each caller is told
// in time what it is, the token at hand is kept, and nothing of it goes where
// it must not; the next connect after the fault works at once. In the end nothing is left.
func TestFaultsOfTheServer(t *testing.T) {
	nothingLeft(t)
	s := newStreet(t, "served")
	c := s.through(t, s.proxy, s.names())
	defer c.Close()
	s.well(t, "before", c)
	var count tally
	for _, f := range troubles {
		count.of(t, func(t testing.TB) bool { f.test(t, s, c); return true })
	}
	noSessions(t, s.az)
	s.watch.check(t)
	t.Logf("%s; token requests %d", &count, s.cred.calls.Load())
	if n := s.cred.calls.Load(); n != 1 {
		t.Errorf("%d token requests: the token at hand was good", n)
	}
}

func (f trouble) test(t testing.TB, s *street, c *aad.Connector) {
	startups := len(s.az.Startups())
	f.on(t, s)
	var err error
	for range 3 {
		conn, e := s.connect(t, f.name, c, 2*time.Second)
		if e == nil {
			conn.Close()
		}
		if (e == nil) != (f.step == "") {
			t.Errorf("%s: %v", f.name, e)
		}
		err = e
	}
	var e *aad.Error
	if f.step != "" && (!errors.As(err, &e) || e.Step != f.step || !contains(err.Error(), f.says)) {
		t.Errorf("%s: %v, want %s at %s", f.name, err, f.says, f.step)
	}
	if n := len(s.az.Startups()) - startups; f.step == "tls" && n > 0 {
		t.Errorf("%s: %d startup packets", f.name, n)
	}
	f.off(t, s)
	began := time.Now()
	s.well(t, f.name, c)
	t.Logf("%-40s back after %s: %.300v", f.name, time.Since(began).Round(time.Millisecond), err)
}
