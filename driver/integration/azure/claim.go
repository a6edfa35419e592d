package azure

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aadpostgres/aadpostgres/driver"
	"github.com/aadpostgres/aadpostgres/driver/internal/hint"
	"github.com/aadpostgres/aadpostgres/driver/internal/redact"
)

// A Claim is one statement about Azure that this module relies on.
type Claim struct {
	ID       string // stable: reports and citations name it
	Text     string // what is claimed, a full sentence
	Standing Standing
	Hints    []Hint   // the hints that rely on it
	Clouds   []string // the names of rows of the table of clouds that rely on it
	Pages    []Page   // the sentences that rely on it
	How      string   // how it is tried
	Needs    []Need   // what must be there

	waits bool // for a token's expiry
	try   func(context.Context, *trial)
}

// A Standing says how a claim is known before it is tried.
type Standing string

// The standings of claims.
const (
	Documented Standing = "documented"
	Reported   Standing = "reported by users"
	Inferred   Standing = "inferred"
	Unknown    Standing = "unknown"
)

// A Hint names rules of the table of hints: those of a step with that wording.
type Hint struct{ Step, Wording string }

// Rules returns the rules that h names. A wording that is none returns none.
func (h Hint) Rules() []hint.Rule {
	return slices.DeleteFunc(hint.Rules(), func(r hint.Rule) bool { return !h.names(r) })
}

func (h Hint) names(r hint.Rule) bool {
	return r.Step == h.Step && slices.Contains(strings.Split(r.Text, "|"), h.Wording)
}

// A Page is a sentence, or a part of one, in a file of this repository.
type Page struct{ File, Text string }

// A Need is what a claim needs to be tried: an [Identity] or one of the following.
type Need string

// The needs beside identities.
const (
	NeedsPgBouncer Need = "PgBouncer"
	NeedsWait      Need = "wait"
	NeedsFailover  Need = "failover"
)

// A Verdict is the outcome of a trial.
type Verdict string

// The verdicts.
const (
	Confirmed    Verdict = "confirmed"
	Contradicted Verdict = "contradicted"
	NotTried     Verdict = "not tried"
)

// A Result is what the trial of a claim found. Its texts are masked.
type Result struct {
	Claim   Claim
	Verdict Verdict
	Why     []string // what contradicts the claim, or why it was not tried
	Seen    []string // what was seen, verbatim
}

// A trial collects what the trial of a claim finds.
type trial struct {
	*run
	claim        Claim
	contradicted []string
	skipped      []string
	seen         []string
}

func (t *trial) result() Result {
	result := Result{Claim: t.claim, Verdict: Confirmed, Seen: t.seen}
	switch {
	case len(t.skipped) > 0: // a claim is not judged by half of its trial
		result.Verdict = NotTried
		result.Why = append(t.skipped, t.contradicted...)
	case len(t.contradicted) > 0:
		result.Verdict = Contradicted
		result.Why = t.contradicted
	}
	return result
}

func (t *trial) skip(format string, args ...any) {
	t.skipped = append(t.skipped, t.mask.text(fmt.Sprintf(format, args...)))
}

func (t *trial) contradict(format string, args ...any) {
	t.contradicted = append(t.contradicted, t.mask.text(fmt.Sprintf(format, args...)))
}

func (t *trial) observe(format string, args ...any) {
	text := t.mask.text(fmt.Sprintf(format, args...))
	if !slices.Contains(t.seen, text) {
		t.seen = append(t.seen, text)
	}
}

// observeError adds the text of an error as the server wrote it, with its SQLSTATE.
func (t *trial) observeError(err error) {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		t.observe("%s", explain(causeOf(err)))
		return
	}
	text := fmt.Sprintf("%s %s: %s", e.Severity, e.Code, e.Message)
	if e.Detail != "" {
		text += " DETAIL: " + e.Detail
	}
	if e.Hint != "" {
		text += " HINT: " + e.Hint
	}
	t.observe("%s", text)
}

// answer matches the fields of a JSON response that say what is wrong.
var answer = regexp.MustCompile(`"(error|error_description|message|statusCode)"\s*:\s*("(?:[^"\\]|\\.)*"|\d+)`)

// explain returns the fields of the response in an error's text, or else its first line.
func explain(err error) string {
	var fields []string
	for _, m := range answer.FindAllStringSubmatch(err.Error(), -1) {
		value := strings.Trim(m[2], `"`)
		value, _, _ = strings.Cut(value, `\r\n`) // IDs of the request follow
		fields = append(fields, m[1]+": "+value)
	}
	if len(fields) == 0 {
		return firstLine(err)
	}
	return redact.Line(strings.Join(fields, ", "))
}

// causeOf returns an error of the driver without its hint.
func causeOf(err error) error {
	var e *driver.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

// failed reports whether a step that the trial needs has failed, and says so.
func (t *trial) failed(step string, err error) bool {
	if err != nil {
		t.skip("%s failed: %s", step, firstLine(err))
	}
	return err != nil
}

// wantRefusal judges a refusal by the rules of the claim's hints: one of them must match
// the server's text.
func (t *trial) wantRefusal(err error) {
	if err == nil {
		t.contradict("the server accepted it")
		return
	}
	t.observeError(err)
	text := causeOf(err).Error()
	var e *pgconn.PgError
	if errors.As(err, &e) {
		text = e.Message
	}
	for _, h := range t.claim.Hints {
		if slices.ContainsFunc(h.Rules(), func(r hint.Rule) bool { return r.Matches(text) }) {
			return
		}
	}
	t.contradict("no hint of this claim matches the text")
}

// citation matches what says that a claim has been confirmed.
var citation = regexp.MustCompile(`confirmed on Azure \(([a-z0-9-]+)\)`)

// Citation returns the words by which a hint's source, a cloud's source or a page says that
// the claim of that ID has been confirmed.
func Citation(id string) string { return string(hint.ConfirmedBy(id)) }
