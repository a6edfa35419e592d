package driver

import (
	"sync/atomic"
	"time"

	"github.com/aadpostgres/aadpostgres/driver/internal/token"
)

// Stats holds counters of a Connector since [NewConnector]. The fields TokenRequests to
// TokenExpires belong to the token cache, which connectors of the same identity share, and
// count since the cache was created. They are zero in mode access-token. In mode password and
// with [WithOpenFunc] all fields are zero. Stats contains no secret and can be published by
// expvar:
//
//	expvar.Publish("aadpostgres", expvar.Func(func() any { return c.Stats() }))
type Stats struct {
	SignIns  int64 // connections that the server signed in
	Rejected int64 // sign-ins that the server refused for the token or the role
	Retried  int64 // of those, how many were tried again with a newer token

	TokenRequests  int64     // requests to the credential
	TokenFailures  int64     // requests that failed
	TokenWaits     int64     // callers that waited for a request that another one started
	TokenRefreshes int64     // requests that replaced an older token
	TokenExpires   time.Time // when the current token is no longer presented; zero if there is none
}

type connectorCount struct{ signIns, rejected, retried atomic.Int64 }

// Stats returns the current counters. They are read one at a time, so they may be
// inconsistent with each other. It is safe for concurrent use.
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
		s.TokenRefreshes = shared.Refreshes
		s.TokenExpires = shared.ExpiresOn
	}
	return s
}
