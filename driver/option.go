package driver

import (
	"cmp"
	"context"
	"crypto/tls"
	"database/sql/driver"
	"log/slog"
	"reflect"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/jackc/pgx/v5"
)

// An Option says what a DSN cannot. A nil Option does nothing. If a kind is
// repeated, the last wins, but every [WithConnConfig] applies, in order.
type Option func(*options)

type options struct {
	credential azcore.TokenCredential
	chosen     bool // by WithCredential, nil too
	tls        *tls.Config
	pgx        []func(*pgx.ConnConfig)
	logger     *slog.Logger
	transport  policy.Transporter
	prompt     *prompter
	open       opener
}

// A prompter shows a device code. It is held by pointer, for functions cannot be
// compared, and who shares a token source shares its prompt.
type prompter func(context.Context, azidentity.DeviceCodeMessage) error

// An opener connects to the server.
type opener func(context.Context, *pgx.ConnConfig) (driver.Conn, error)

func collect(opts []Option) *options {
	o := &options{logger: slog.New(slog.DiscardHandler)}
	for _, opt := range opts {
		if opt != nil {
			opt(o)
		}
	}
	return o
}

// nothing tells that v is nil, or holds a nil pointer: what a constructor returned with
// an error that was not looked at.
func nothing(v any) bool {
	at := reflect.ValueOf(v)
	return v == nil || at.Kind() == reflect.Pointer && at.IsNil()
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

// parts are what the DSN's own credential is made with.
func (o *options) parts(t target) parts {
	p := parts{undiscovered: !t.discovery, prompt: prompt, bare: o.transport, ClientOptions: azcore.ClientOptions{
		Cloud:     cloud.Configuration{ActiveDirectoryAuthorityHost: t.authority},
		Transport: carry(o.transport), PerRetryPolicies: []policy.Policy{heed{}},
	}}
	if o.prompt != nil {
		p.prompt = *o.prompt
	}
	return p
}

// WithCredential signs in with cred in place of the DSN's aad_auth. Connectors
// with the same cred and scope share its token; cred must be safe for
// concurrent use, as azidentity's are. A nil cred is an error of [NewConnector].
func WithCredential(cred azcore.TokenCredential) Option {
	return func(o *options) { o.credential, o.chosen = cred, true }
}

// WithTLSConfig uses a copy of t for every host that the DSN reaches over TLS.
// Where ServerName, RootCAs, Certificates or NextProtos is empty, what the DSN says
// holds. InsecureSkipVerify is an error without a VerifyConnection or
// VerifyPeerCertificate, unless the DSN has aad_insecure=unverified. A nil t does
// nothing.
func WithTLSConfig(t *tls.Config) Option {
	return func(o *options) { o.tls = t }
}

// WithLogger logs to l: tokens fetched and refreshed; failed token requests, and how
// long until the next (retry_in); sign-ins that the server rejects; and, once, an
// aad_token_file that others may read or replace. No token or secret is logged. Where
// connectors share a token source, the one whose connect began a request logs it. By
// default, and with a nil l, nothing is logged.
func WithLogger(l *slog.Logger) Option {
	return func(o *options) {
		if l != nil {
			o.logger = l
		}
	}
}

// WithConnConfig changes the pgx configuration once, in NewConnector: tracers, dial
// and lookup functions, notification handlers. Password and User are set later. A
// nil f does nothing.
func WithConnConfig(f func(*pgx.ConnConfig)) Option {
	return func(o *options) {
		if f != nil {
			o.pgx = append(o.pgx, f)
		}
	}
}

// WithTransport sends token requests through t, an *http.Client say: for an
// authority with a certificate of its own, a proxy, or tests. An *http.Client is
// copied and follows no redirect; another t should follow none either, for the secret
// would go along. No more than 1 MiB of an answer is read. Only connectors with the
// same t share tokens. By default, and with a nil t, a client like azcore's own is
// used. The modes that run a developer's tool, and [WithCredential], make their
// requests without t.
func WithTransport(t policy.Transporter) Option {
	return func(o *options) {
		if o.transport = t; nothing(t) {
			o.transport = nil
		}
	}
}

// WithDeviceCodePrompt shows a person where to sign in, in mode device-code. By
// default the message goes to standard error. An error from f ends the token
// request. Only connectors with the very same Option share tokens. A nil f does
// nothing.
func WithDeviceCodePrompt(f func(context.Context, azidentity.DeviceCodeMessage) error) Option {
	if f == nil {
		return nil
	}
	p := prompter(f)
	return func(o *options) { o.prompt = &p }
}

// WithOpenFunc makes connections by f, in pgx's place, and signs nobody in: for unit
// tests of code that opens by name (see [Register]), with go-sqlmock say. DSN and TLS
// policy are checked as always, but no token is asked for and nothing is dialled.
// f gets a copy of what pgx would have connected with. A nil f does nothing.
func WithOpenFunc(f func(context.Context, *pgx.ConnConfig) (driver.Conn, error)) Option {
	return func(o *options) { o.open = f }
}
