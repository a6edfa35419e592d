package token

import "time"

// Stats are totals since [NewCache].
type Stats struct {
	Requests, Failures int64
	Waits              int64     // callers that waited for a request that another one began
	Refreshes          int64     // requests that replaced an older token
	ExpiresOn          time.Time // of the current token; zero if there is none
}

// Stats returns the totals so far. Each is read by itself.
func (c *Cache) Stats() Stats {
	s := Stats{
		Requests:  c.count.requests.Load(),
		Failures:  c.count.failures.Load(),
		Waits:     c.count.waits.Load(),
		Refreshes: c.count.refreshes.Load(),
	}
	if t := c.current.Load(); t != nil {
		s.ExpiresOn = t.ExpiresOn
	}
	return s
}
