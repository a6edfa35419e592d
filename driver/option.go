package driver

import (
	"cmp"
	"context"
	"crypto/tls"
	"database/sql/driver"
	"log/slog"
	"reflect"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/jackc/pgx/v5"

	"github.com/aadpostgres/aadpostgres/driver/internal/credential"
)

// An Option is a setting that a DSN cannot express. A nil Option is ignored. If an option is
// given more than once, the last one applies, but each [WithConnConfig] applies, in order. An
// Option may be used for several connectors.
type Option func(*options)

type options struct {
	credential    azcore.TokenCredential
	credentialSet bool // by WithCredential, even if it is nil
	tls           *tls.Config
	connConfig    []func(*pgx.ConnConfig)
	logger        *slog.Logger
	transport     policy.Transporter
	prompt        *credential.Prompt
	open          openFunc
	owner         any // the driver's; nil without options
}

// An openFunc connects to the server.
type openFunc func(context.Context, *pgx.ConnConfig) (driver.Conn, error)

func newOptions(opts []Option) *options {
	o := &options{logger: slog.New(slog.DiscardHandler)}
	for _, opt := range opts {
		if opt != nil {
			opt(o)
		}
	}
	return o
}

// isNil reports whether v is nil, or holds a nil pointer, as a constructor returns with
// an error that was not checked.
func isNil(v any) bool {
	if v == nil {
		return true
	}
	r := reflect.ValueOf(v)
	return r.Kind() == reflect.Pointer && r.IsNil()
}

// apply changes config as the options say. The TLS policy is checked afterwards.
func (o *options) apply(config *pgx.ConnConfig) {
	if o.tls != nil {
		o.applyTLS(config)
	}
	for _, f := range o.connConfig {
		f(config)
	}
}

func (o *options) applyTLS(config *pgx.ConnConfig) {
	if config.TLSConfig != nil {
		config.TLSConfig = completeTLS(o.tls, config.TLSConfig, config.Host)
	}
	for _, f := range config.Fallbacks {
		if f.TLSConfig != nil {
			f.TLSConfig = completeTLS(o.tls, f.TLSConfig, f.Host)
		}
	}
}

// completeTLS returns a copy of t with what the DSN says where t is empty.
func completeTLS(t, dsn *tls.Config, host string) *tls.Config {
	t = t.Clone()
	t.ServerName = cmp.Or(t.ServerName, host)
	if t.RootCAs == nil {
		t.RootCAs = dsn.RootCAs
	}
	if t.Certificates == nil && t.GetClientCertificate == nil {
		t.Certificates = dsn.Certificates
		t.GetClientCertificate = dsn.GetClientCertificate
	}
	if t.NextProtos == nil {
		t.NextProtos = dsn.NextProtos // sslnegotiation=direct needs its own
	}
	return t
}

func (o *options) forCredential() credential.Options {
	return credential.Options{Credential: o.credential, Transport: o.transport, Prompt: o.prompt, Owner: o.owner}
}

// WithCredential requests tokens from cred instead of the mode that aad_auth names. GetToken
// must be safe for concurrent use and must honor its context, which ends after
// aad_token_timeout. TokenRequestOptions.Claims is set to request a newer token than the one
// that cred has cached. Connectors share a token cache if they have the same cred, scope and
// authority, the same other aad_ keys, and the same environment variables that azidentity
// reads. If cred's type is not comparable, only connectors of one [Driver] share its tokens,
// such as those opened by a name of [Register]. A nil cred is an error.
func WithCredential(cred azcore.TokenCredential) Option {
	return func(o *options) {
		o.credential = cred
		o.credentialSet = true
	}
}

// WithTLSConfig uses a copy of t for each host that the DSN reaches over TLS. An empty
// ServerName is the host. If RootCAs or NextProtos is empty, the DSN's setting is used. The
// DSN's client certificate is used if t has neither Certificates nor GetClientCertificate.
// InsecureSkipVerify without VerifyConnection or VerifyPeerCertificate is an error, except
// in mode password and with aad_insecure. Callbacks of t must be safe for concurrent use. A
// nil t means the DSN's settings.
func WithTLSConfig(t *tls.Config) Option {
	return func(o *options) { o.tls = t }
}

// WithLogger sets the logger. It logs, at level Info, each token that is fetched or
// refreshed. At level Warn it logs failed token requests, sign-ins that the server rejects,
// and, once, an aad_token_file that other users can read or replace. For a failed request,
// retry_in is the time until the next request is allowed. No token or secret is logged. If
// connectors share a token cache, a request is logged by the connector that started it. The
// default is no logging. A nil l is ignored.
func WithLogger(l *slog.Logger) Option {
	return func(o *options) {
		if l != nil {
			o.logger = l
		}
	}
}

// WithConnConfig calls f once for each Connector, in NewConnector, to change the pgx
// configuration, for example its Tracer, DialFunc, LookupFunc or OnNotification. Hooks that f
// sets must be safe for concurrent use. Except in mode password, the configuration contains
// no password, and changes of User and Password have no effect. In every mode, if an
// AfterNetConnect returns a wrapped connection, the wrapper must have a method NetConn()
// net.Conn that returns the connection it wraps, as *tls.Conn has. Otherwise the connect
// fails. No hook or tracer sees the token in a configuration. A nil f is ignored.
func WithConnConfig(f func(*pgx.ConnConfig)) Option {
	return func(o *options) {
		if f != nil {
			o.connConfig = append(o.connConfig, f)
		}
	}
}

// WithTransport sends token requests through t, such as an *http.Client. Use it for an
// authority with a private certificate, for a proxy, or in tests. t must be safe for
// concurrent use. An *http.Client is copied, and the copy does not follow redirects. Any
// other t must not follow redirects, because it would send the secret to the new address. At
// most 1 MiB of a response is read, except of Service Fabric's endpoint, for which t must be
// an *http.Client. Credentials that run a developer tool, and [WithCredential], do not use t.
//
// A proxy of t applies to every request that t sends. Exclude from it link-local addresses
// and the endpoint of the managed identity, which have no TLS. Only connectors with the same
// t share tokens, and Close does not close t's idle connections. The default, and the meaning
// of nil, is a client like azcore's that keeps an idle connection for a second and never uses
// a proxy for the endpoints of this host.
func WithTransport(t policy.Transporter) Option {
	return func(o *options) {
		o.transport = t
		if isNil(t) {
			o.transport = nil
		}
	}
}

// WithDeviceCodePrompt calls f to display the device code in mode device-code. f must return
// without waiting for the user, and may be called concurrently if the Option is used for
// several connectors. An error of f fails the token request. Connectors share tokens only if
// they were created with the same Option value, not with an equal one. The default prints
// the message to standard error. A nil f is ignored.
func WithDeviceCodePrompt(f func(context.Context, azidentity.DeviceCodeMessage) error) Option {
	if f == nil {
		return nil
	}
	prompt := credential.Prompt(f)
	return func(o *options) { o.prompt = &prompt }
}

// WithOpenFunc makes [Connector.Connect] call f instead of pgx, for unit tests of code that
// opens a database by name (see [Register]), for example with go-sqlmock. No credential is
// created and no token is requested. The DSN and the TLS policy are still checked. f receives
// a copy of the pgx configuration, without a token, and must be safe for concurrent use.
// [Connector.BeforeConnect] does not call f. A nil f means pgx.
func WithOpenFunc(f func(context.Context, *pgx.ConnConfig) (driver.Conn, error)) Option {
	return func(o *options) { o.open = f }
}
