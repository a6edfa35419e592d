// Package token holds the tokens of an identity: [Cache] requests, keeps and refreshes
// them, [File] and [Static] present one that somebody else has requested.
//
// Its errors say what failed and what is known about it. What to do is the driver's to
// say. Requests are made by a [Fetcher].
package token

import (
	"cmp"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"time"

	"github.com/aadpostgres/aadpostgres/driver/internal/redact"
	"github.com/aadpostgres/aadpostgres/dsn"
)

// A Source returns the token to present now. Its methods are safe for concurrent use
// and do not block: the caller waits for a [Call] by itself.
type Source interface {
	// Token returns a valid token, or else the call that will return one. o is told what
	// comes of a request that Token begins.
	Token(o Observer) (*Token, *Call)
	// Refresh returns the call that will return a replacement for a token that a server
	// has rejected. If there is none, the call returns the rejected token or an error.
	Refresh(rejected *Token, o Observer) *Call
	// Renewals returns what was requested after servers rejected tokens of this source. It
	// is the same for all connectors that share the source.
	Renewals() *Renewals
}

// An Observer is told what comes of a request, from the request's own goroutine.
type Observer interface {
	// TokenFetched is called with the new token, and whether it replaces an older one.
	TokenFetched(t *Token, replaced bool, took time.Duration)
	// TokenFailed is called with the *Error, and when the next request may begin.
	TokenFailed(err error, took, retryIn time.Duration)
	// TokenFileExposed is called once for a file that others may read or replace.
	TokenFileExposed(path string, mode fs.FileMode)
}

// A Token is immutable. A newer one is requested in the background by five minutes before its
// end, or by half of a life of less than ten minutes. When exactly is drawn at random for each
// token: see refreshWindow. Its times are wall clock times: a laptop that slept must not
// present an expired token. Neither fmt nor encoding/json shows the secret.
type Token struct {
	Value     string `json:"-"` // the secret
	Claims    Claims
	Cloud     string    // whose servers the token says it is for; "" if it does not say
	IssuedAt  time.Time // by the claim iat, else when it was received
	ExpiresOn time.Time // when the credential says it ends, or when it becomes too old to present

	refreshOn time.Time // from here on a newer one is requested in the background
	refreshBy time.Time // the latest refreshOn can be; before it, a cache of the credential need not have a newer one
	notBefore time.Time // a clock that is not after this was set back
}

// Format implements fmt.Formatter and masks the value, whatever the verb.
func (t Token) Format(f fmt.State, _ rune) { io.WriteString(f, redact.Mask) }

const (
	// backdated is how long before the issue Entra dates a token, so that clocks may
	// differ. It is observed, not documented.
	backdated = 5 * time.Minute

	// A token is refreshed five minutes before it ends, at the latest. That is when MSAL's
	// cache stops returning it. A life of less than twice that is refreshed halfway, at the
	// latest.
	refreshBefore = 5 * time.Minute
	shortLife     = 2 * refreshBefore

	// Processes that start together receive their tokens together. So the time of a refresh
	// is drawn at random from the last 3/8 of the time until it is due. In a simulation of a
	// thousand processes (TestFleet), no minute after the third refresh has much more than
	// twice the mean. It costs a fifth more requests. Tokens of seconds, as tests have them,
	// are not spread.
	spreadPart  = 3
	spreadWhole = 8
	leastSpread = 2 * time.Minute // of a life that is spread

	recent = time.Minute
)

// New makes a token of a response that was received now. A token older than maxAge
// counts as expired; 0 means that it is valid for as long as the response says.
func New(r Response, now time.Time, maxAge time.Duration) *Token {
	t := &Token{
		Value:     r.Value,
		Claims:    ParseClaims(r.Value),
		IssuedAt:  now,
		ExpiresOn: r.ExpiresOn.Round(0),
		notBefore: now.Add(-time.Minute), // callers may have looked at the clock before the token arrived
	}
	for _, audience := range t.Claims.Audience {
		t.Cloud = cmp.Or(t.Cloud, dsn.CloudOfResource(audience))
	}
	iat := t.Claims.IssuedTime()
	if !iat.IsZero() && iat.Add(backdated).Before(now) {
		t.IssuedAt = iat.Add(backdated)
	}
	tooOld := t.IssuedAt.Add(maxAge)
	if maxAge > 0 && tooOld.Before(t.ExpiresOn) {
		t.ExpiresOn = tooOld
	}
	from, by := refreshWindow(r.RefreshOn.Round(0), t.ExpiresOn, now)
	t.refreshBy = by
	t.refreshOn = from.Add(jitter(by.Sub(from)))
	return t
}

// refreshWindow returns from when and by when to refresh a token that ends at expiresOn.
// refreshOn is when the credential wants it refreshed, and may be zero. The window begins
// there. It begins earlier only if too little time is left after it.
func refreshWindow(refreshOn, expiresOn, now time.Time) (from, by time.Time) {
	if !refreshOn.IsZero() && !refreshOn.After(now) {
		// The credential's cache has returned a token that is already due: ask again,
		// but not with each connect.
		at := earlier(now.Add(maxBackoff), expiresOn)
		return at, at
	}
	left := expiresOn.Sub(now)
	by = expiresOn.Add(-refreshBefore)
	if left < shortLife {
		by = earlier(now.Add(left/2), expiresOn)
	}
	var spread time.Duration
	if left >= leastSpread {
		spread = by.Sub(now) * spreadPart / spreadWhole
	}
	if !refreshOn.IsZero() {
		by = earlier(by, refreshOn.Add(spread))
	}
	return by.Add(-spread), by
}

// jitter returns a random part of d.
func jitter(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return rand.N(d)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// Valid reports whether t can be presented. A nil token is not valid.
func (t *Token) Valid(now time.Time) bool { return t != nil && now.Before(t.ExpiresOn) }

// needsRefresh reports whether a newer token should be requested. The end of a token
// that was received in the future cannot be trusted. The minute is for callers that
// looked at the clock before the token arrived.
func (t *Token) needsRefresh(now time.Time) bool {
	return t == nil || !now.Before(t.refreshOn) || !now.After(t.notBefore)
}

// RecentlyIssued reports whether t is so young that a server cannot have rejected it
// for its age.
func (t *Token) RecentlyIssued(now time.Time) bool { return now.Sub(t.IssuedAt).Abs() < recent }

// wallClock returns the time without its monotonic reading.
func wallClock() time.Time { return time.Now().Round(0) }
