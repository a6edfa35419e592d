package driver

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aadpostgres/aadpostgres/driver/internal/direct"
)

// A connTrace records the steps of a connect, by pgx's own hooks and, for what these do
// not see, by the context. Its methods are safe for concurrent use.
type connTrace struct {
	mu      sync.Mutex             // guards what follows
	steps   map[string]*stepResult // by the name of a Check
	endedAt time.Time              // of the latest step
}

// A stepResult is one step of a connect to one or several hosts.
type stepResult struct {
	found []string
	took  time.Duration
	err   error // of the latest try that failed
}

type connTraceKey struct{}

func withConnTrace(ctx context.Context, t *connTrace) context.Context {
	return context.WithValue(ctx, connTraceKey{}, t)
}

// connTraceFrom returns the trace of ctx, or nil, which records nothing.
func connTraceFrom(ctx context.Context) *connTrace {
	t, _ := ctx.Value(connTraceKey{}).(*connTrace)
	return t
}

// record adds a step that began at that time, and what it found or why it failed.
func (t *connTrace) record(name string, began time.Time, found string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.steps == nil {
		t.steps = map[string]*stepResult{}
	}
	step := t.steps[name]
	if step == nil {
		step = &stepResult{}
		t.steps[name] = step
	}
	if err != nil {
		step.err = err
	} else if !slices.Contains(step.found, found) { // a retry finds the same again
		step.found = append(step.found, found)
	}
	t.endedAt = time.Now()
	step.took += t.endedAt.Sub(began)
}

// recordFailure records a step that failed where no hook of pgx sees it. A nil trace
// records nothing.
func (t *connTrace) recordFailure(name string, err error) {
	if t != nil {
		t.record(name, t.latest(), "", err)
	}
}

// step returns what is recorded of a step, and whether anything is.
func (t *connTrace) step(name string) (stepResult, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	step, ok := t.steps[name]
	if !ok {
		return stepResult{}, false
	}
	return stepResult{found: slices.Clone(step.found), took: step.took, err: step.err}, true
}

// latest returns when the latest step ended.
func (t *connTrace) latest() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.endedAt
}

// stepTimeout bounds what a diagnosis waits for where the DSN has no connect_timeout: the
// name server, each host, and the query. A firewall that drops packets is a common reason
// to run a diagnosis.
const stepTimeout = 10 * time.Second

// attach adds the trace to the hooks of config, around those that are there, and bounds
// what these wait for.
func (t *connTrace) attach(config *pgx.ConnConfig) {
	lookup := config.LookupFunc
	dial := config.DialFunc
	netConnect := config.AfterNetConnect
	config.ConnectTimeout = cmp.Or(config.ConnectTimeout, stepTimeout)
	timeout := config.ConnectTimeout
	config.LookupFunc = func(ctx context.Context, host string) ([]string, error) {
		began := time.Now()
		ctx, cancel := context.WithTimeout(ctx, timeout) // which pgx does not do
		defer cancel()
		addrs, err := lookup(ctx, host)
		found := strings.Join(addrs, ", ")
		if found != host { // an address resolves to itself
			found = host + " is " + found
		}
		t.record("dns", began, found, err)
		return addrs, err
	}
	config.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		began := time.Now()
		conn, err := dial(ctx, network, addr)
		t.record("tcp", began, addr, err)
		return conn, err
	}
	config.AfterNetConnect = func(ctx context.Context, cfg *pgconn.Config, conn net.Conn) (net.Conn, error) {
		began := t.latest()
		found := "none"
		if c, ok := conn.(*tls.Conn); ok {
			// In mode password pgx leaves the handshake to the first write.
			if err := c.HandshakeContext(ctx); err != nil {
				t.record("tls", began, "", err)
				return conn, err
			}
			found = describeTLS(c.ConnectionState())
		}
		t.record("tls", began, found, nil)
		if netConnect == nil {
			return conn, nil
		}
		return netConnect(ctx, cfg, conn)
	}
}

// tryDirectTLS begins a connection to t's server with TLS, and closes it. It returns how
// long a round trip takes.
func (c *Connector) tryDirectTLS(ctx context.Context, t *tls.Conn) (roundTrip time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, direct.Timeout)
	defer cancel()
	addr := t.RemoteAddr()
	began := time.Now()
	conn, err := c.config.DialFunc(ctx, addr.Network(), addr.String())
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	roundTrip = time.Since(began)
	config := c.config.TLSConfig
	for _, h := range c.config.Fallbacks {
		if h.TLSConfig != nil && (config == nil || h.TLSConfig.ServerName == t.ConnectionState().ServerName) {
			config = h.TLSConfig
		}
	}
	config = config.Clone()
	config.NextProtos = []string{direct.Protocol}
	begun := tls.Client(conn, config)
	if err := begun.HandshakeContext(ctx); err != nil {
		return 0, err
	}
	if begun.ConnectionState().NegotiatedProtocol != direct.Protocol {
		return 0, direct.ErrProtocol
	}
	return roundTrip, nil
}

func describeTLS(s tls.ConnectionState) string {
	version := tls.VersionName(s.Version)
	if len(s.PeerCertificates) == 0 {
		return version
	}
	c := s.PeerCertificates[0]
	return fmt.Sprintf("%s, certificate for %s, issued by %q, until %s", version, namesOf(c), c.Issuer.CommonName, c.NotAfter.UTC().Format(time.DateOnly))
}
