package token

import (
	"sync/atomic"
	"time"
)

// Renewals remembers the latest [Renewal] of a source. The zero value is ready to use. It is
// safe for concurrent use.
type Renewals struct{ latest atomic.Pointer[Renewal] }

// Latest returns the latest renewal, or nil if there was none.
func (r *Renewals) Latest() *Renewal { return r.latest.Load() }

// Replace makes next the latest renewal, unless another one has taken the place of old.
func (r *Renewals) Replace(old, next *Renewal) { r.latest.CompareAndSwap(old, next) }

// A Renewal is what was requested after a server rejected a token. It is immutable once it
// is the latest.
type Renewal struct {
	Rejected *Token
	Call     *Call         // nil: nothing has been requested yet
	Wait     time.Duration // how long to wait until the next one
	NextAt   time.Time     // when to request again if the answer is rejected too
}

// Pending reports whether r is still what to do about a rejection of t: its request
// failed, or it was made for t and has not returned t again.
func (r *Renewal) Pending(t *Token) bool {
	if r.Call == nil {
		return false
	}
	return r.Call.Err() != nil || (r.Rejected == t && !r.Call.Returned(t))
}
