package driver

import (
	"sync/atomic"
	"time"
)

// Stats are totals of a connector since [NewConnector] and, where marked shared, of
// the token source that it shares with the other connectors of its identity; these
// are zero where no token is asked for (modes access-token and password). It holds
// no secret and is made for expvar:
//
//	expvar.Publish("aadpostgres", expvar.Func(func() any { return c.Stats() }))
type Stats struct {
	SignIns  int64 // connections that the server signed in
	Rejected int64 // sign-ins that the server refused for the token or the role
	Retried  int64 // of those, how many were tried again with a newer token

	TokenRequests int64     // shared: requests to the credential
	TokenFailures int64     // shared: of those, how many failed
	TokenWaits    int64     // shared: callers that waited for a request that another began
	TokenRenewals int64     // shared: requests that replaced an older token
	TokenExpires  time.Time // shared: end of the token at hand; zero for none
}

type sourceCount struct{ requests, failures, waits, renewals atomic.Int64 }

type connectorCount struct{ signIns, rejected, retried atomic.Int64 }

// Stats returns the totals so far. They are not a snapshot: each is read
// separately.
func (c *Connector) Stats() Stats {
	st := Stats{SignIns: c.count.signIns.Load(), Rejected: c.count.rejected.Load(), Retried: c.count.retried.Load()}
	if s, ok := c.tokens.(*source); ok {
		st.TokenRequests, st.TokenFailures = s.count.requests.Load(), s.count.failures.Load()
		st.TokenWaits, st.TokenRenewals = s.count.waits.Load(), s.count.renewals.Load()
		if t := s.current.Load(); t != nil {
			st.TokenExpires = t.expires
		}
	}
	return st
}
