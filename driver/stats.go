package driver

import (
	"sync/atomic"
	"time"

	"github.com/aadpostgres/aadpostgres/driver/internal/token"
)

// Stats are totals of a connector since [NewConnector]. Those marked shared are of the
// token cache that it shares with the other connectors of its identity. They are zero in
// modes access-token and password, which request no token. Stats hold no secret and can
// be published by expvar:
//
//	expvar.Publish("aadpostgres", expvar.Func(func() any { return c.Stats() }))
type Stats struct {
	SignIns  int64 // connections that the server signed in
	Rejected int64 // sign-ins that the server refused for the token or the role
	Retried  int64 // of those, how many were tried again with a newer token

	TokenRequests int64     // shared: requests to the credential
	TokenFailures int64     // shared: of those, how many failed
	TokenWaits    int64     // shared: callers that waited for a request that another one began
	TokenRenewals int64     // shared: requests that replaced an older token
	TokenExpires  time.Time // shared: when the current token expires; zero if there is none
}

type connectorCount struct{ signIns, rejected, retried atomic.Int64 }

// Stats returns the totals so far. They are not a snapshot: each is read by itself. It is
// safe for concurrent use.
func (c *Connector) Stats() Stats {
	s := Stats{
		SignIns:  c.count.signIns.Load(),
		Rejected: c.count.rejected.Load(),
		Retried:  c.count.retried.Load(),
	}
	if cache, ok := c.source.(*token.Cache); ok {
		shared := cache.Stats()
		s.TokenRequests = shared.Requests
		s.TokenFailures = shared.Failures
		s.TokenWaits = shared.Waits
		s.TokenRenewals = shared.Renewals
		s.TokenExpires = shared.ExpiresOn
	}
	return s
}
