package driver

import (
	"cmp"
	"crypto/tls"
	"log/slog"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/jackc/pgx/v5"
)

// An Option says what a DSN cannot. A nil Option does nothing.
type Option func(*options)

type options struct {
	credential azcore.TokenCredential
	chosen     bool // by WithCredential, nil too
	tls        *tls.Config
	pgx        []func(*pgx.ConnConfig)
	logger     *slog.Logger
}

func collect(opts []Option) *options {
	o := &options{logger: slog.New(slog.DiscardHandler)}
	for _, opt := range opts {
		if opt != nil {
			opt(o)
		}
	}
	return o
}

// apply changes config as the options say. Whatever they do, the TLS policy is
// checked after them.
func (o *options) apply(config *pgx.ConnConfig) {
	if o.tls != nil {
		if config.TLSConfig != nil {
			config.TLSConfig = forHost(o.tls, config.TLSConfig, config.Host)
		}
		for _, f := range config.Fallbacks {
			if f.TLSConfig != nil {
				f.TLSConfig = forHost(o.tls, f.TLSConfig, f.Host)
			}
		}
	}
	for _, f := range o.pgx {
		f(config)
	}
}

// forHost completes t with what the DSN gave.
func forHost(t, dsn *tls.Config, host string) *tls.Config {
	t = t.Clone()
	t.ServerName = cmp.Or(t.ServerName, host)
	if t.RootCAs == nil {
		t.RootCAs = dsn.RootCAs
	}
	if t.Certificates == nil && t.GetClientCertificate == nil {
		t.Certificates, t.GetClientCertificate = dsn.Certificates, dsn.GetClientCertificate
	}
	if t.NextProtos == nil {
		t.NextProtos = dsn.NextProtos // sslnegotiation=direct wants its own
	}
	return t
}

// WithCredential signs in with cred in place of the DSN's aad_auth. Connectors
// with the same cred and scope share its token; cred must be safe for
// concurrent use, as azidentity's are.
func WithCredential(cred azcore.TokenCredential) Option {
	return func(o *options) { o.credential, o.chosen = cred, true }
}

// WithTLSConfig uses t for every host that the DSN reaches over TLS. What it
// leaves empty of ServerName, RootCAs, Certificates and NextProtos is the DSN's. InsecureSkipVerify needs a verification of its
// own (VerifyConnection, VerifyPeerCertificate) or aad_insecure=unverified.
func WithTLSConfig(t *tls.Config) Option {
	return func(o *options) { o.tls = t }
}

// WithLogger tells l of tokens fetched and renewed, of failed token requests and
// when the next one is due (retry_in), and of sign-ins that the server rejects.
// Never of a token or secret. A token source that several connectors share tells
// the one whose connect began the request. A nil l logs nothing.
func WithLogger(l *slog.Logger) Option {
	return func(o *options) {
		if l != nil {
			o.logger = l
		}
	}
}

// WithPgx changes the pgx configuration once, in NewConnector: tracers, dial
// and lookup functions, notification handlers. Password and User are set later.
func WithPgx(f func(*pgx.ConnConfig)) Option {
	return func(o *options) { o.pgx = append(o.pgx, f) }
}
