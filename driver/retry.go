package driver

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aadpostgres/aadpostgres/driver/internal/hint"
	"github.com/aadpostgres/aadpostgres/driver/internal/redact"
	"github.com/aadpostgres/aadpostgres/driver/internal/token"
)

const (
	firstRenewalWait = time.Second
	maxRenewalWait   = 30 * time.Second
)

// A renewal is what a connector requested after the server rejected a token.
type renewal struct {
	rejected *token.Token
	call     *token.Call   // nil: nothing has been requested yet
	wait     time.Duration // firstRenewalWait, doubling to maxRenewalWait
	nextAt   time.Time     // when to request again if the answer is rejected too
}

// handleRejection requests a newer token where that may help. A token may be rejected
// for its own sake (it is revoked, for example) or for the role's, which no other token
// would change, and the server's words are not reliable. So it requests one only for a
// role that has signed in before, or if the words are about the token; and once, until
// a sign-in succeeds. A role that does not exist costs no request.
func (a *attempt) handleRejection(e *pgconn.PgError) {
	a.restore()
	a.lastPgError = e
	if e.Code != "28P01" && e.Code != "28000" {
		return
	}
	c := a.c
	now := time.Now()
	c.count.rejected.Add(1)
	c.log.Warn("sign-in rejected", slog.String("code", e.Code), slog.String("message", redact.Line(e.Message)), slog.Time("token_issued", a.token.IssuedAt))
	old := c.renewal.Load()
	next := a.nextRenewal(old, aboutToken(e), now)
	if next == nil {
		return
	}
	if next.nextAt.IsZero() {
		a.replacement = c.source.Refresh(a.token, observer{c})
		next.call = a.replacement
		next.nextAt = now.Add(next.wait)
	}
	c.renewal.CompareAndSwap(old, next)
}

func aboutToken(e *pgconn.PgError) bool { return hint.SaysTokenRejected(e.Message) }

// nextRenewal decides what follows on old, which may be nil: nothing, a renewal now, or
// one that waits until nextAt, if that is set.
//
// Where the words are about the token, and it is recent or one that was requested after
// a rejection, the credential may be out of order, or the server. Neither must be
// flooded, nor must a pool be left with a bad token when all is well again: it requests
// after a second, doubling to half a minute.
func (a *attempt) nextRenewal(old *renewal, aboutToken bool, now time.Time) *renewal {
	recent := a.call != nil || a.token.RecentlyIssued(now)
	if !aboutToken && (recent || !a.c.signedIn.Load()) {
		return nil
	}
	next := &renewal{rejected: a.token, wait: firstRenewalWait}
	if old == nil {
		if recent {
			next.nextAt = now.Add(next.wait)
		}
		return next
	}
	if old.pending(a.token) {
		next.wait = old.wait
		return next
	}
	if !aboutToken || now.Before(old.nextAt) {
		return nil
	}
	next.wait = min(2*old.wait, maxRenewalWait)
	return next
}

// pending reports whether r is still what to do about a rejection of t: its request
// failed, or it was made for t and has not returned t again.
func (r *renewal) pending(t *token.Token) bool {
	if r.call == nil {
		return false
	}
	return r.call.Err() != nil || (r.rejected == t && !r.call.Returned(t))
}

// shouldRetry reports whether err is a rejection for which there is another token now.
func (a *attempt) shouldRetry(ctx context.Context, err error) bool {
	if a.activeConfig != nil {
		a.handleUnseen(err)
	}
	if a.replacement == nil {
		return false
	}
	t, err := a.replacement.Token(ctx)
	if err != nil || t.Value == a.token.Value {
		return false
	}
	a.c.count.retried.Add(1)
	return true
}

// handleUnseen handles a rejection that did not come through onPgError: pgx reads the
// response to OAUTHBEARER by itself, and has no type for one form of it.
func (a *attempt) handleUnseen(err error) {
	e := refusedBearer(err)
	if e == nil && !(errors.As(err, &e) && e != a.lastPgError) {
		return
	}
	a.errContext().redactError(e)
	a.handleRejection(e)
}
