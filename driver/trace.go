package driver

import (
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
)

// A trace notes what a connect does on its way, by pgx's own hooks.
type trace struct {
	mu    sync.Mutex      // guards what follows while the connect is under way
	steps map[string]*leg // by the Name of a Check
	since time.Time       // the end of the latest step
}

// A leg is one step to one or several hosts.
type leg struct {
	said []string
	took time.Duration
	err  error // of the latest try that failed
}

func (t *trace) note(name string, began time.Time, err error, format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.steps == nil {
		t.steps = map[string]*leg{}
	}
	l := t.steps[name]
	if l == nil {
		l = &leg{}
		t.steps[name] = l
	}
	switch said := fmt.Sprintf(format, args...); {
	case err != nil:
		l.err = err
	case !slices.Contains(l.said, said): // the sign-in may be tried once more
		l.said = append(l.said, said)
	}
	t.since = time.Now()
	l.took += t.since.Sub(began)
}

// latest is when the latest step ended.
func (t *trace) latest() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.since
}

// fail notes a step that failed where no hook sees it. Without a trace it does
// nothing.
func (t *trace) fail(name string, err error) {
	if t != nil {
		t.note(name, t.latest(), err, "")
	}
}

// hang puts the trace into the hooks of config, around those that are there.
func (t *trace) hang(config *pgx.ConnConfig) {
	lookup, dial, netConnect := config.LookupFunc, config.DialFunc, config.AfterNetConnect
	config.LookupFunc = func(ctx context.Context, host string) ([]string, error) {
		began := time.Now()
		addrs, err := lookup(ctx, host)
		said := strings.Join(addrs, ", ")
		if said != host { // an address is found to be itself
			said = host + " is " + said
		}
		t.note("dns", began, err, "%s", said)
		return addrs, err
	}
	config.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		began := time.Now()
		conn, err := dial(ctx, network, addr)
		t.note("tcp", began, err, "%s", addr)
		return conn, err
	}
	config.AfterNetConnect = func(ctx context.Context, cfg *pgconn.Config, conn net.Conn) (net.Conn, error) {
		began, said := t.latest(), "none"
		if c, ok := conn.(*tls.Conn); ok {
			// In mode password pgx leaves it to the first write.
			if err := c.HandshakeContext(ctx); err != nil {
				t.note("tls", began, err, "")
				return conn, err
			}
			said = handshake(c.ConnectionState())
		}
		t.note("tls", began, nil, "%s", said)
		if netConnect == nil {
			return conn, nil
		}
		return netConnect(ctx, cfg, conn)
	}
}

func handshake(s tls.ConnectionState) string {
	said := tls.VersionName(s.Version)
	if len(s.PeerCertificates) > 0 {
		c := s.PeerCertificates[0]
		said += fmt.Sprintf(", certificate for %s, issued by %q, until %s", nameList(c), c.Issuer.CommonName, c.NotAfter.UTC().Format(time.DateOnly))
	}
	return said
}
