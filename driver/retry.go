package driver

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aadpostgres/aadpostgres/driver/internal/direct"
	"github.com/aadpostgres/aadpostgres/driver/internal/hint"
	"github.com/aadpostgres/aadpostgres/driver/internal/redact"
	"github.com/aadpostgres/aadpostgres/driver/internal/token"
)

const (
	firstRenewalWait = time.Second
	maxRenewalWait   = 30 * time.Second
)

// A history is what is known of sign-ins with one role, and of its servers. The connectors that [Driver.Open]
// makes for one DSN share it.
type history struct {
	signedIn atomic.Bool                   // the server has accepted a token
	settled  atomic.Pointer[token.Renewal] // the latest renewal of the identity, before the latest sign-in
	servers  direct.Servers                // which of them accept direct TLS
}

// since returns the identity's latest renewal if it is not older than the latest sign-in.
func (h *history) since(latest *token.Renewal) *token.Renewal {
	if latest == h.settled.Load() {
		return nil
	}
	return latest
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
	renewals := c.source.Renewals()
	latest := renewals.Latest()
	next := a.nextRenewal(c.since(latest), aboutToken(e), now)
	if next == nil {
		return
	}
	if next.NextAt.IsZero() {
		a.replacement = c.source.Refresh(a.token, observer{c})
		next.Call = a.replacement
		next.NextAt = now.Add(next.Wait)
	}
	renewals.Replace(latest, next)
}

func aboutToken(e *pgconn.PgError) bool { return hint.SaysTokenRejected(e.Message) }

// nextRenewal decides what follows on old, which may be nil: nothing, a renewal now, or
// one that waits until NextAt, if that is set. old is the identity's, not the connector's
// alone: many pools that are rejected together request no more than one.
//
// Where the words are about the token, and it is recent or one that was requested after
// a rejection, the credential may be out of order, or the server. Neither must be
// flooded, nor must a pool be left with a bad token when all is well again: it requests
// after a second, doubling to half a minute.
func (a *attempt) nextRenewal(old *token.Renewal, aboutToken bool, now time.Time) *token.Renewal {
	// A token that has ended by now ended while the server checked it, however recent it is.
	recent := a.token.Valid(now) && (a.call != nil || a.token.RecentlyIssued(now))
	if !aboutToken && (recent || !a.c.signedIn.Load()) {
		return nil
	}
	next := &token.Renewal{Rejected: a.token, Wait: firstRenewalWait}
	if old == nil {
		if recent {
			next.NextAt = now.Add(next.Wait)
		}
		return next
	}
	if old.Pending(a.token) {
		next.Wait = old.Wait
		return next
	}
	if !aboutToken || now.Before(old.NextAt) {
		return nil
	}
	next.Wait = min(2*old.Wait, maxRenewalWait)
	return next
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
