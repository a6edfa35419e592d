// Package azure holds what this module believes about Azure and could not see for itself,
// as a table of claims, and tries them on a server:
//
//	go test -tags azure -v -timeout 3h ./driver/integration/azure
//
// [FromEnv] documents the variables that name the server and the identities. Without the tag, the tests try the same claims on the
// emulator. [Run] returns a [Report], which names no host, person or ID, so that it can be
// published. CONTRIBUTING.md says what to do with it, and [Citation] is how a hint, a cloud
// or a page says that a claim has been confirmed.
//
// A run creates roles and a database whose names begin with aadpostgres_, and drops them.
// It sends tokens over verified TLS to the server of the DSN only. One of them is for
// another resource, Azure Key Vault: use identities that have no rights there.
package azure

import (
	"context"
	"fmt"
	"regexp"
	"time"

	"github.com/aadpostgres/aadpostgres/driver"
)

// claimTimeout bounds the trial of one claim. Waits that settings ask for come on top.
const claimTimeout = 2 * time.Minute

// Settings say where and as whom the claims are tried.
type Settings struct {
	// Target is what the server is, for the report: Azure or emulator.
	Target string

	// DSN names the server, in the form of keywords and values: host, port, dbname and
	// perhaps sslrootcert. It is required.
	DSN string

	// Identities are DSN parameters that are added to DSN, such as "user=app
	// aad_auth=managed-identity". Claims about an identity that is absent are not tried.
	// The administrator is required.
	Identities map[Identity]string

	// PgBouncerPort is the port of the server's PgBouncer, or "" if it has none.
	PgBouncerPort string

	// Wait is how long a run may wait for a token to expire. 0 means that it does not wait.
	Wait time.Duration

	// Failover makes the server fail over or restart. nil means that it must not.
	Failover func(context.Context) error

	// Only, if not nil, matches the IDs of the claims that are tried.
	Only *regexp.Regexp

	// Options are those of all connectors.
	Options []driver.Option

	table []Claim // nil means Claims
}

// An Identity is a principal that the claims are about.
type Identity string

// The identities. Person presents its own token, and so does Group, for the role of a group
// that it is a member of.
const (
	Admin            Identity = "administrator"
	Person           Identity = "person"
	Group            Identity = "group"
	ManagedIdentity  Identity = "managed identity"
	ServicePrincipal Identity = "service principal"
)

func (s Settings) claims() []Claim {
	if s.table != nil {
		return s.table
	}
	return Claims()
}

// Run tries all claims in their order, and returns what it found. ctx bounds the run.
// It returns an error, and no report, if the administrator cannot sign in, or if a text of
// the report would name a host, a person, an ID or a token.
func Run(ctx context.Context, s Settings) (*Report, error) {
	r, err := newRun(ctx, s)
	if err != nil {
		return nil, err
	}
	defer r.close()
	report := &Report{Target: s.Target, Server: r.mask.text(r.version), Day: time.Now().UTC().Format(time.DateOnly)}
	for _, c := range s.claims() {
		if s.Only != nil && !s.Only.MatchString(c.ID) {
			continue
		}
		report.Results = append(report.Results, r.try(ctx, c))
	}
	if leaked := r.mask.leaks(report.dynamic()); leaked != "" {
		return nil, fmt.Errorf("azure: the report would name %s; it is not written", leaked)
	}
	return report, nil
}

// try tries one claim.
func (r *run) try(ctx context.Context, c Claim) Result {
	t := &trial{run: r, claim: c}
	for _, need := range c.Needs {
		if why := r.missing(need); why != "" {
			t.skip("%s", why)
			return t.result()
		}
	}
	timeout := claimTimeout
	if c.waits {
		timeout += r.settings.Wait
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c.try(ctx, t)
	return t.result()
}
