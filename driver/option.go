package driver

import (
	"crypto/tls"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/jackc/pgx/v5"
)

// An Option says what a DSN cannot. A nil Option does nothing.
type Option func(*options)

type options struct {
	credential azcore.TokenCredential
	tls        *tls.Config
	pgx        []func(*pgx.ConnConfig)
}

func collect(opts []Option) *options {
	o := &options{}
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
			config.TLSConfig = forHost(o.tls, config.Host)
		}
		for _, f := range config.Fallbacks {
			if f.TLSConfig != nil {
				f.TLSConfig = forHost(o.tls, f.Host)
			}
		}
	}
	for _, f := range o.pgx {
		f(config)
	}
}

func forHost(t *tls.Config, host string) *tls.Config {
	t = t.Clone()
	if t.ServerName == "" {
		t.ServerName = host
	}
	return t
}

// WithCredential signs in with cred in place of the DSN's aad_auth. Connectors
// with the same cred and scope share its token; cred must be safe for
// concurrent use, as azidentity's are.
func WithCredential(cred azcore.TokenCredential) Option {
	return func(o *options) { o.credential = cred }
}

// WithTLSConfig uses t for every host that the DSN reaches over TLS. An empty
// ServerName becomes the host's. InsecureSkipVerify needs a verification of its
// own (VerifyConnection, VerifyPeerCertificate) or aad_insecure=unverified.
func WithTLSConfig(t *tls.Config) Option {
	return func(o *options) { o.tls = t }
}

// WithPgx changes the pgx configuration once, in NewConnector: tracers, dial
// and lookup functions, notification handlers. Password and User are set later.
func WithPgx(f func(*pgx.ConnConfig)) Option {
	return func(o *options) { o.pgx = append(o.pgx, f) }
}
