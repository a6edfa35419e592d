package driver

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// A question is what a connector asked when the server refused a token.
type question struct {
	than   *token
	flight *flight       // nil: nothing was asked for yet
	wait   time.Duration // a second, doubling to maxBackoff
	next   time.Time     // when to ask again if the answer is refused too
}

// refused asks for a newer token where that may help. A token may be refused for
// its own sake (revoked, say) or for the role's, which no other token would mend,
// and the server's words are not to be relied on. So: only for a role that has let us
// in before, or if the words are of the token; and once, until a sign-in works. A
// role that does not exist costs no request.
//
// Where the words are of the token, and it is young or one that was asked for
// after a refusal, who gives tokens may be out of order, or the server be. Neither is
// to be hammered, nor must a pool be left with a bad token when all is well again: it
// is asked after a second, doubling to half a minute.
func (a *attempt) refused(e *pgconn.PgError) {
	a.leave()
	a.told = e
	if e.Code != "28P01" && e.Code != "28000" {
		return
	}
	c, now := a.c, time.Now()
	c.count.rejected.Add(1)
	c.log.Warn("sign-in rejected", slog.String("code", e.Code), slog.String("message", oneLine(e.Message)), slog.Time("token_issued", a.token.issued))
	words := strings.Contains(strings.ToLower(e.Message), "token")
	q := c.asked.Load()
	asking := question{than: a.token, wait: time.Second}
	switch {
	case !words && (a.flight != nil || a.token.young(now) || !c.worked.Load()):
		return
	case q == nil && (a.flight != nil || a.token.young(now)):
		asking.next = now.Add(asking.wait)
		c.asked.CompareAndSwap(q, &asking)
		return
	case q == nil:
	case q.flight != nil && (q.flight.failure() != nil || q.than == a.token && !q.flight.brought(a.token)):
		asking.wait = q.wait // the same question
	case !words || now.Before(q.next):
		return
	default:
		asking.wait = min(2*q.wait, maxBackoff)
	}
	t, f := c.tokens.newer(a.token, c.log)
	if t != nil {
		f = landed(t, nil)
	}
	a.next, asking.flight, asking.next = f, f, now.Add(asking.wait)
	c.asked.CompareAndSwap(q, &asking)
}

// again tells whether err is a refusal for which there is another token now.
func (a *attempt) again(ctx context.Context, err error) bool {
	if a.live != nil { // pgx hears the answer to OAUTHBEARER by itself, and has no type for half of it
		const oauth = "OAuth authentication failed: "
		e := &pgconn.PgError{}
		if _, status, ok := strings.Cut(err.Error(), oauth); ok {
			a.refused(&pgconn.PgError{Code: "28000", Message: a.situation().mask(oauth + status)})
		} else if errors.As(err, &e) && e != a.told {
			a.situation().maskError(e)
			a.refused(e)
		}
	}
	if a.next == nil {
		return false
	}
	t, err := a.next.Token(ctx)
	if err != nil || t.value == a.token.value {
		return false
	}
	a.c.count.retried.Add(1)
	return true
}
