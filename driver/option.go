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

// An Option is a setting that a DSN cannot express. A nil Option does nothing. If an
// option is repeated, the last one counts, but each [WithConnConfig] applies, in order.
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
	return credential.Options{Credential: o.credential, Transport: o.transport, Prompt: o.prompt}
}

// WithCredential signs in with cred in place of the DSN's aad_auth. Connectors with the
// same cred, the same aad_ keys and the same environment share its token. cred must be safe
// for concurrent use, as azidentity's credentials are. A nil cred is an error of [NewConnector].
func WithCredential(cred azcore.TokenCredential) Option {
	return func(o *options) {
		o.credential = cred
		o.credentialSet = true
	}
}

// WithTLSConfig uses a copy of t for each host that the DSN reaches over TLS. Where
// ServerName, RootCAs, Certificates or NextProtos is empty, the DSN's setting is used.
// InsecureSkipVerify is an error without a VerifyConnection or VerifyPeerCertificate,
// unless the DSN has aad_insecure=unverified. A nil t does nothing.
func WithTLSConfig(t *tls.Config) Option {
	return func(o *options) { o.tls = t }
}

// WithLogger logs to l: tokens that are fetched and refreshed; failed token requests, with
// the time until the next one (retry_in); sign-ins that the server rejects; and, once, an
// aad_token_file that others may read or replace. No token or secret is logged. Where
// connectors share a token cache, the one whose connect began a request logs it. By
// default, and with a nil l, nothing is logged.
func WithLogger(l *slog.Logger) Option {
	return func(o *options) {
		if l != nil {
			o.logger = l
		}
	}
}

// WithConnConfig lets f change the pgx configuration once, in NewConnector: tracers, dial
// and lookup functions, notification handlers. Password and User are set later. An
// AfterNetConnect that wraps the connection must return one whose method NetConn returns
// what it wraps. A nil f does nothing.
func WithConnConfig(f func(*pgx.ConnConfig)) Option {
	return func(o *options) {
		if f != nil {
			o.connConfig = append(o.connConfig, f)
		}
	}
}

// WithTransport sends token requests through t, such as an *http.Client: for an authority
// with a private certificate, a proxy, or tests. An *http.Client is copied and follows no
// redirect. Any other t should follow none either, for the secret would be sent along. At
// most 1 MiB of a response is read. Only connectors with the same t share tokens. By
// default, and with a nil t, a client like azcore's is used. The modes that run a
// developer tool, and [WithCredential], make their requests without t.
func WithTransport(t policy.Transporter) Option {
	return func(o *options) {
		o.transport = t
		if isNil(t) {
			o.transport = nil
		}
	}
}

// WithDeviceCodePrompt lets f show a person where to sign in, in mode device-code. By
// default the message is printed to standard error. An error from f ends the token
// request. Only connectors with the very same Option share tokens. A nil f does nothing.
func WithDeviceCodePrompt(f func(context.Context, azidentity.DeviceCodeMessage) error) Option {
	if f == nil {
		return nil
	}
	prompt := credential.Prompt(f)
	return func(o *options) { o.prompt = &prompt }
}

// WithOpenFunc uses f instead of pgx to open connections. No token is requested. It is for
// unit tests of code that opens a database by name (see [Register]), for example with
// go-sqlmock. DSN and TLS policy are checked as always. f gets a copy of the configuration
// that pgx would connect with. A nil f does nothing.
func WithOpenFunc(f func(context.Context, *pgx.ConnConfig) (driver.Conn, error)) Option {
	return func(o *options) { o.open = f }
}
