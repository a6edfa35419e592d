package token

import (
	"cmp"
	"context"
	"time"
)

// A Fetcher requests tokens of one identity.
type Fetcher interface {
	// Fetch makes one request and returns when ctx ends, at the latest. With an error the
	// response has its Exchange alone. The error must not hold a secret.
	Fetch(ctx context.Context, r Request) (Response, error)
	// CloseIdle closes the connections that no request uses. Requests may follow.
	CloseIdle()
}

// An Asker is a Fetcher that knows whom it asks.
type Asker interface {
	// Asking returns what is known of the latest request, while it is under way.
	Asking() Exchange
}

// A Request says which token will do.
type Request struct {
	// IssuedAfter, if it is not zero, asks past the credential's own cache for a token
	// that was issued later.
	IssuedAfter time.Time
	// NoRetry asks once: the caller waits between its requests.
	NoRetry bool
}

// A Response is the result of a request.
type Response struct {
	Value     string // the token; "" if there is an error
	ExpiresOn time.Time
	RefreshOn time.Time // when the credential wants it refreshed; may be zero
	Exchange
}

// An Exchange is what is known of a request, also of one that failed.
type Exchange struct {
	Endpoint   string        // URL without path of the authority or metadata service that was asked; "" if unknown
	RetryAfter time.Duration // how long it wants to be left alone; 0 if it did not say
	Skew       time.Duration // how far this machine's clock is ahead of its clock
	Cause      string        // why it failed, in one line without secrets; "" for the error's own text
	Detail     string        // the text that a hint is found by, without secrets; "" for the cause

	Credential   string // mode of the DSN that a failure is about; "" if unknown
	LoginCommand string // command that signs a person in to that mode's developer tool; "" if it has none
	TryCommand   string // command that does what that mode does, and prints no token; "" if there is none
}

// followedBy returns what is known after a second exchange, which may have seen less.
func (x Exchange) followedBy(y Exchange) Exchange {
	return Exchange{
		Endpoint:   cmp.Or(y.Endpoint, x.Endpoint),
		RetryAfter: cmp.Or(y.RetryAfter, x.RetryAfter),
		Skew:       cmp.Or(y.Skew, x.Skew),
		Cause:      y.Cause,
		Detail:     y.Detail,

		Credential:   y.Credential,
		LoginCommand: y.LoginCommand,
		TryCommand:   y.TryCommand,
	}
}

// An Error says why there is no usable token.
type Error struct {
	Err      error // the cause, without secrets
	Exchange Exchange
}

// Error returns the cause in one line. It does not read Err if the exchange has a cause:
// reading an error that quotes an HTTP response changes it, and callers share it.
func (e *Error) Error() string {
	if e.Exchange.Cause != "" {
		return e.Exchange.Cause
	}
	return e.Err.Error()
}

// Detail returns the text to find a hint by. It is not that of the cause if several
// credentials have failed: the hint is about one of them.
func (e *Error) Detail() string {
	if e.Exchange.Detail != "" {
		return e.Exchange.Detail
	}
	return e.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
