package credential

import (
	"context"
	"errors"
	"strings"

	"github.com/aadpostgres/aadpostgres/driver/internal/token"
	"github.com/aadpostgres/aadpostgres/dsn"
)

// A timeoutError is a request that ran out of time, with what is known of it.
type timeoutError struct {
	text string
	err  error    // the context's
	mode dsn.Mode // that was being asked; "" if unknown
}

func (e *timeoutError) Error() string { return e.text }
func (e *timeoutError) Unwrap() error { return e.err }

// timedOut says of a request that ran out of time how far it came.
func (x *exchange) timedOut(ctx context.Context, err error) error {
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) || errors.As(err, new(*timeoutError)) {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	mode := dsn.Mode("")
	if x.current != nil {
		mode = x.current.mode
	}
	text := ""
	switch {
	case x.waitsForPerson(mode):
		text = "nobody has signed in before the time was up: " + context.DeadlineExceeded.Error()
	case x.failure != "" && x.endpoint != "":
		text = x.failure + ", and no better response in time"
	case x.endpoint != "":
		endpoint := x.endpoint
		if x.ofHost {
			endpoint = "the managed identity's endpoint " + endpoint
		}
		text = "no response from " + endpoint + ": " + context.DeadlineExceeded.Error()
	case mode != "":
		text = unfinished(mode)
	default:
		return err
	}
	return &timeoutError{text, context.DeadlineExceeded, mode}
}

// waitsForPerson reports whether a person was to sign in. The caller holds the lock.
func (x *exchange) waitsForPerson(mode dsn.Mode) bool {
	switch mode {
	case dsn.DeviceCode:
		return x.prompted
	case dsn.InteractiveBrowser:
		// azidentity opens the browser between its requests.
		return x.answered && x.pending == 0 && x.failure == ""
	}
	return false
}

// explain says which mode a failure is about, why in one line, and by what text its hint is
// found.
func (x *exchange) explain(err error) (about dsn.Mode, reason, detail string) {
	var timeout *timeoutError
	if errors.As(err, &timeout) {
		return timeout.mode, timeout.text, timeout.text
	}
	if errors.Is(err, context.Canceled) {
		// The request may be under way still, and read what its credentials have returned.
		return "", err.Error(), err.Error()
	}
	x.mu.Lock()
	failures := x.failures
	asked := x.current != nil
	x.mu.Unlock()
	list := outcomes(failures, err)
	several := len(list) > 1
	named := several || (x.chained && asked)
	var reasons []string
	best := decisive(list, err)
	for i := range list {
		o := &list[i]
		text := o.reason(named)
		if several && o != best {
			text = cut(text, maxReasons/len(list))
		}
		if doubt := x.doubt(o.mode, text); o == best && doubt != "" && !strings.Contains(text, doubt) {
			text += " (" + doubt + ")"
		}
		reasons = append(reasons, text)
	}
	reason = strings.Join(reasons, " / ")
	if best == nil {
		reason = "none of the credentials is available here: " + reason
		return "", reason, reason
	}
	detail = best.detail()
	if doubt := x.doubt(best.mode, detail); doubt != "" {
		detail = doubt + "\n" + detail
	}
	return best.mode, reason, detail
}

// maxReasons is how many characters the reasons of several credentials have together, so
// that the last one is not cut off.
const maxReasons = 450

func (x *exchange) doubt(mode dsn.Mode, reason string) string {
	x.mu.Lock()
	m := x.current
	x.mu.Unlock()
	if m == nil {
		return ""
	}
	return m.doubt(mode, reason)
}

// describe adds what a person can do about the mode.
func (x *exchange) describe(known *token.Exchange, mode dsn.Mode) {
	known.Credential = string(mode)
	x.mu.Lock()
	m := x.current
	x.mu.Unlock()
	t := toolOf(mode)
	if m == nil || t == nil {
		return
	}
	known.LoginCommand = t.login(m.scope, m.cfg)
	known.TryCommand = t.try(m.scope, m.cfg)
}
